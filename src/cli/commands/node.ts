// holdfast node add | list | show | remove: hosts with an agent. What they are ordered is in node-orders.ts.
import type { Command } from 'commander';
import { parseUserId } from '../../schema/auth-id.ts';
import { formatTime } from '../../schema/names.ts';
import { parseDurationMs } from '../../util/duration.ts';
import { administerNodes } from '../admin/administer.ts';
import type { NodeEnrolment, NodeView } from '../admin/node-administration.ts';
import { STATE_DIR_OPTION, type StateOptions } from '../admin/server-state.ts';
import { pairs, print, table } from '../output.ts';
import { addNodeOrderCommands } from './node-orders.ts';

interface AddOptions extends StateOptions {
  readonly user?: string;
  readonly lifetime?: string;
  readonly renew?: boolean;
}

export function addNodeCommands(program: Command): void {
  const node = program.command('node').description('hosts with an agent, which back up and restore by orders');
  const command = (name: string, description: string): Command =>
    node
      .command(name)
      .description(description)
      .option(...STATE_DIR_OPTION);
  command('add', 'let a host in: prints the one-time secret with which holdfast agent enroll gets its token')
    .argument('<NODE>')
    .option('--user <USERID>', 'whom its agent acts as; who asks without it')
    .option('--lifetime <TIME>', 'how long the secret can be used, such as 30min; 1h without it')
    .option('--renew', 'the node is there already, and is enrolled anew: its token keeps its rights')
    .action(async (name: string, _, each: Command) => await add(name, each.optsWithGlobals()));
  command('list', 'nodes with version, state and last contact').action(
    async (_, each: Command) => await list(each.optsWithGlobals()),
  );
  command('show', 'one node')
    .argument('<NODE>')
    .action(async (name: string, _, each: Command) => await show(name, each.optsWithGlobals()));
  command('remove', 'remove a node with the token of its agent, whose connection ends')
    .argument('<NODE>')
    .action(async (name: string, _, each: Command) => await remove(name, each.optsWithGlobals()));
  addNodeOrderCommands(node);
}

async function add(node: string, options: AddOptions): Promise<void> {
  const user = options.user === undefined ? undefined : parseUserId(options.user);
  const lifetimeSeconds =
    options.lifetime === undefined ? undefined : Math.ceil(parseDurationMs(options.lifetime, '--lifetime') / 1000);
  const wish = { node, user, lifetimeSeconds, renew: options.renew ?? false };
  const made = await administerNodes(options, async (nodes) => await nodes.add(wish));
  print(options.outputFormat, made, described);
}

function described({ node, tokenid, secret, expire, fingerprint }: NodeEnrolment): string {
  const words = fingerprint === undefined ? '' : ` --fingerprint ${fingerprint}`;
  return `${pairs([
    ['node', node],
    ['token', tokenid],
    ['secret', secret],
    ['good until', formatTime(expire)],
    ...(fingerprint === undefined ? [] : [['fingerprint', fingerprint] as const]),
  ])}\nthe secret is shown this once; on the host: holdfast agent enroll --server HOST --node ${node}${words} --secret-file -\nand when it is enrolled, give its token rights here: holdfast acl set /datastore/STORE DatastoreBackup --auth-id '${tokenid}'`;
}

async function list(options: StateOptions): Promise<void> {
  const nodes = await administerNodes(options, async (each) => await each.list());
  print(options.outputFormat, nodes, (all) =>
    table(
      ['node', 'status', 'version', 'last contact', 'address', 'token'],
      all.map((each) => [
        each.name,
        each.status,
        each.version ?? '',
        each.lastContact === undefined ? waitingText(each) : formatTime(each.lastContact),
        each.address ?? '',
        each.authId ?? '',
      ]),
    ),
  );
}

async function show(name: string, options: StateOptions): Promise<void> {
  const node = await administerNodes(options, async (each) => await each.get(name));
  print(options.outputFormat, node, (each) =>
    pairs([
      ['node', each.name],
      ['status', each.status],
      ['token', each.authId ?? ''],
      ['host', each.hostName ?? ''],
      ['address', each.address ?? ''],
      ['version', each.version ?? ''],
      ['enrolled', each.enrolled === undefined ? waitingText(each) : formatTime(each.enrolled)],
      ['last contact', each.lastContact === undefined ? '' : formatTime(each.lastContact)],
      ['orders', each.orders === undefined ? '' : String(each.orders)],
    ]),
  );
}

function waitingText({ enrolmentExpires }: NodeView): string {
  return enrolmentExpires === undefined ? '' : `not enrolled; its secret is good until ${formatTime(enrolmentExpires)}`;
}

async function remove(name: string, options: StateOptions): Promise<void> {
  await administerNodes(options, async (each) => await each.remove(name));
  print(options.outputFormat, { node: name, removed: true }, () => `removed node ${name} with the token of its agent`);
}
