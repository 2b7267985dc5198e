// holdfast agent: this host backs up and restores by orders of a server. It dials out; no port of the host is open.
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import {
  type AgentConfig,
  agentStateDirectory,
  makeStateDirectory,
  ownRestoreDirectory,
  readAgentConfig,
  writeAgentConfig,
} from '../../agent/service/agent-config.ts';
import type { Log } from '../../daemon/log.ts';
import { tokenNameOf, userOf } from '../../schema/auth-id.ts';
import { parseGuestId } from '../../schema/guest-names.ts';
import type { RunningServer } from '../../server.ts';
import { parseFingerprint } from '../../transport/client/fingerprint.ts';
import { DEFAULT_PORT } from '../../transport/client/repository-address.ts';
import { HoldfastError } from '../../util/errors.ts';
import { interruptSignal } from '../interrupt.ts';
import { pairs, print } from '../output.ts';
import type { CommonOptions } from '../repository.ts';

interface AgentOptions extends CommonOptions {
  readonly state?: string;
  readonly logLevel?: string;
}

interface EnrollOptions extends AgentOptions {
  readonly server: string;
  readonly node: string;
  readonly secretFile?: string;
  readonly allowBackup?: readonly string[];
  readonly allowRestore?: readonly string[];
  readonly allowGuestBackup?: readonly AllowedGuest[];
  readonly allowGuestRestore?: readonly AllowedGuest[];
  readonly allowScript?: readonly string[];
  readonly nodeDir?: string;
  readonly keyfile?: string;
  readonly passphraseFile?: string;
}

type AllowedGuest = NonNullable<AgentConfig['allowGuestBackup']>[number];

/** Where a server that listens on every address is reached from here. */
const LOOPBACK: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
const STATE_OPTION = ['--state <DIR>', "the agent's directory; /var/lib/holdfast-agent for root"] as const;
const SECRET_VARIABLE = 'HOLDFAST_ENROLMENT_SECRET';
const MAX_SECRET_BYTES = 1024;

const collectGuest = (value: string, before: AllowedGuest[] = []): AllowedGuest[] => [
  ...before,
  value === 'all' ? value : parseGuestId(value),
];
const collect = (value: string, before: string[] = []): string[] => [...before, value];

export function addAgentCommand(program: Command): void {
  const agent = program
    .command('agent')
    .description('run the agent of this host: it keeps a connection to its server, and takes orders')
    .option(...STATE_OPTION)
    .option('--log-level <LEVEL>', 'fatal, error, warn, info (default), debug, trace or silent')
    .action(async (_, each: Command) => await run(each.optsWithGlobals()));
  agent
    .command('enroll')
    .description('get a token from a server, with the one-time secret that holdfast node add printed there')
    .requiredOption('--server <HOST[:PORT]>', 'port 8007 without one')
    .requiredOption('--node <NAME>', 'the name that this host was given there')
    .option(
      '--secret-file <FILE>',
      `its one line is the one-time secret; - for standard input (or set ${SECRET_VARIABLE})`,
    )
    .option('--allow-backup <PATH>', 'only what is below it may be backed up; may be repeated (default: /)', collect)
    .option(
      '--allow-restore <PATH>',
      'restores may write below it; may be repeated (default: restore/ in the directory of --state)',
      collect,
    )
    .option('--allow-guest-backup <VMID>', 'may be backed up, or all; may be repeated (default: none)', collectGuest)
    .option(
      '--allow-guest-restore <VMID>',
      'may be made or replaced by a restore, or all; may be repeated (default: none)',
      collectGuest,
    )
    .option('--allow-script <PATH>', 'a backup of a guest may run hook scripts below it (default: none)', collect)
    .option('--node-dir <DIR>', 'where this host keeps its guests (default: as holdfast vm)')
    .option('--keyfile <FILE>', 'key file: every backup of this host is encrypted with it')
    .option('--passphrase-file <FILE>', 'file with its passphrase')
    .option(...STATE_OPTION)
    .action(async (_, each: Command) => await enrollHost(each.optsWithGlobals()));
}

function stateOf({ state }: AgentOptions): string {
  return state ?? agentStateDirectory(process.env, process.getuid?.());
}

async function run(options: AgentOptions): Promise<void> {
  const stateDirectory = stateOf(options);
  const config = await readAgentConfig(stateDirectory);
  if (config === undefined)
    throw new HoldfastError(
      'not-found',
      `this host is not enrolled (no agent.json in ${stateDirectory}): run holdfast node add NAME on the server, and holdfast agent enroll here`,
    );
  const { createLog } = await import('../../daemon/log.ts');
  const { logLevelOf } = await import('../../daemon/server-config.ts');
  const { serverSignals } = await import('../../daemon/signals.ts');
  const { VERSION_INFO } = await import('../../daemon/installation.ts');
  const { runAgent } = await import('../../agent.ts');
  const { orderRunner } = await import('../orders/run-order.ts');
  const { RunningConfig } = await import('../../agent/service/running-config.ts');
  const log = createLog(logLevelOf(options.logLevel ?? 'info'));
  const running = new RunningConfig(config, stateDirectory);
  const signals = serverSignals(() => {
    running.reload().then(
      (changed) => log.info({ changed }, 'agent.json was read anew'),
      (error: Error) => log.error({ reason: error.message }, 'agent.json could not be read anew; the old one counts'),
    );
  });
  try {
    await runAgent({
      config,
      stateDirectory,
      version: VERSION_INFO.version,
      log,
      // Each order keeps the configuration that it began with.
      runOrder: async (order, report) => await orderRunner({ ...running.config }, stateDirectory)(order, report),
      changed: () => running.changed,
      ending: signals.ending,
      hurry: signals.hurry,
    });
  } finally {
    signals.stop();
  }
}

/** The agent of a server's own machine, in its process. */
export interface LocalAgent {
  /** The server has another certificate. */
  trust(fingerprint: string): void;
  stop(): Promise<void>;
}

/** Starts it, enrolled by itself; its directory is `agent` in that of the server. */
export async function startLocalAgent(
  server: RunningServer,
  serverDirectory: string,
  log: Log,
  hurry: AbortSignal,
  nodeDirectory?: string,
): Promise<LocalAgent> {
  const { VERSION_INFO } = await import('../../daemon/installation.ts');
  const { runAgent } = await import('../../agent.ts');
  const { orderRunner } = await import('../orders/run-order.ts');
  const { describeMachine } = await import('../../agent/service/machine.ts');
  const stateDirectory = join(serverDirectory, 'agent');
  await makeStateDirectory(stateDirectory);
  const before = await readAgentConfig(stateDirectory);
  const token = server.enrolLocalAgent(await describeMachine(stateDirectory), before !== undefined);
  const { address, port } = server.address;
  const config: AgentConfig = {
    allowBackup: ['/'],
    allowRestore: [ownRestoreDirectory(stateDirectory)],
    // They are this machine's own, and whoever orders here has the right to it.
    allowGuestBackup: ['all'],
    allowGuestRestore: ['all'],
    ...before,
    ...(nodeDirectory !== undefined && { nodeDirectory }),
    host: LOOPBACK[address] ?? address,
    port,
    fingerprint: parseFingerprint(server.fingerprint()),
    node: 'localhost',
    ...(token !== undefined && {
      user: userOf(token.tokenid),
      token: tokenNameOf(token.tokenid) ?? '',
      secret: token.value,
    }),
  } as AgentConfig;
  await writeAgentConfig(stateDirectory, config);
  const ending = new AbortController();
  const done = runAgent({
    config,
    stateDirectory,
    version: VERSION_INFO.version,
    log,
    runOrder: orderRunner(config, stateDirectory),
    ending: new Promise((resolve) => ending.signal.addEventListener('abort', resolve, { once: true })),
    hurry,
  }).catch((error: unknown) => log.error({ err: error }, 'the agent of this machine has ended'));
  return {
    trust: (fingerprint) => {
      config.fingerprint = parseFingerprint(fingerprint);
    },
    stop: async () => {
      ending.abort();
      await done;
    },
  };
}

async function enrollHost(options: EnrollOptions): Promise<void> {
  const stateDirectory = stateOf(options);
  const { host, port } = parseServer(options.server);
  const given = options.fingerprint ?? (process.env.HOLDFAST_FINGERPRINT || undefined);
  const secret = await oneTimeSecret(options.secretFile);
  const { enroll } = await import('../../agent/service/enroll.ts');
  const interrupt = interruptSignal();
  try {
    const config = await enroll(
      {
        stateDirectory,
        host,
        port,
        fingerprint: given === undefined ? null : parseFingerprint(given),
        node: options.node,
        secret,
        allowBackup: options.allowBackup,
        allowRestore: options.allowRestore,
        ...(options.allowGuestBackup !== undefined && { allowGuestBackup: [...options.allowGuestBackup] }),
        ...(options.allowGuestRestore !== undefined && { allowGuestRestore: [...options.allowGuestRestore] }),
        ...(options.allowScript !== undefined && { allowScript: [...options.allowScript] }),
        ...(options.nodeDir !== undefined && { nodeDirectory: resolve(options.nodeDir) }),
        ...(options.keyfile !== undefined && { keyFile: options.keyfile }),
        ...(options.passphraseFile !== undefined && { passphraseFile: options.passphraseFile }),
        signal: interrupt.signal,
      },
      { allowBackup: ['/'], allowRestore: [ownRestoreDirectory(stateDirectory)] },
    );
    const { node, user, token, allowBackup, allowRestore, allowGuestBackup = [], allowGuestRestore = [] } = config;
    const guests = { allowGuestBackup, allowGuestRestore };
    const shown = { node, tokenid: `${user}!${token}`, stateDirectory, allowBackup, allowRestore, ...guests };
    print(options.outputFormat, shown, (value) =>
      pairs([
        ['node', value.node],
        ['token', value.tokenid],
        ['state', value.stateDirectory],
        ['may back up', value.allowBackup.join(', ')],
        ['may restore to', value.allowRestore.join(', ')],
        ['guests to back up', value.allowGuestBackup.join(', ') || 'none'],
        ['guests to restore', value.allowGuestRestore.join(', ') || 'none'],
        ['next', 'holdfast agent, or systemctl start holdfast-agent'],
      ]),
    );
  } finally {
    interrupt.stop();
  }
}

/** `backup.example`, `backup.example:8007`, `[fd00::1]:8007`. @throws `bad-argument`. */
function parseServer(text: string): { host: string; port: number } {
  const [, v6, name, digits] =
    /^(?:\[([0-9A-Fa-f:.]{2,60})\]|([A-Za-z0-9][A-Za-z0-9.-]{0,252}))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const port = digits === undefined ? DEFAULT_PORT : Number(digits);
  const host = v6 ?? name;
  if (host !== undefined && port >= 1 && port <= 65_535) return { host, port };
  throw new HoldfastError(
    'bad-argument',
    `--server takes HOST or HOST:PORT, not ${JSON.stringify(text.slice(0, 100))}`,
  );
}

/** Never from the command line, which other users can see. @throws `bad-argument` without one. */
async function oneTimeSecret(file: string | undefined): Promise<string> {
  const variable = process.env[SECRET_VARIABLE];
  const text =
    file === undefined
      ? variable
      : file === '-'
        ? await standardInput()
        : await readFile(file, 'utf8').catch((cause) => {
            throw new HoldfastError('not-found', `--secret-file ${file} cannot be read: ${(cause as Error).message}`, {
              cause,
            });
          });
  const line = (text ?? '').trim();
  if (line !== '' && !/\s/.test(line) && line.length <= MAX_SECRET_BYTES) return line;
  throw new HoldfastError(
    'bad-argument',
    `the one-time secret that holdfast node add printed is needed: set ${SECRET_VARIABLE}, or give --secret-file FILE, - for standard input`,
  );
}

async function standardInput(): Promise<string> {
  let text = '';
  for await (const part of process.stdin) {
    text += String(part);
    if (text.length > MAX_SECRET_BYTES) break;
  }
  return text;
}
