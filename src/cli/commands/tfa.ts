// holdfast tfa list | add | delete: second factors of users. What is secret of a new one is shown once.
import type { Command } from 'commander';
import { parseUserId } from '../../schema/auth-id.ts';
import { formatTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { administer } from '../admin/administer.ts';
import type { TotpOptions } from '../admin/new-totp.ts';
import { STATE_DIR_OPTION, type StateOptions } from '../admin/server-state.ts';
import { print, table } from '../output.ts';

interface AddOptions extends StateOptions, TotpOptions {}

export function addTfaCommands(program: Command): void {
  const tfa = program.command('tfa').description('second factors of users');
  tfa
    .command('list')
    .description('of a user, or of all that have any')
    .argument('[USERID]')
    .option(...STATE_DIR_OPTION)
    .action(async (user: string | undefined, _, each: Command) => await list(user, each.optsWithGlobals()));
  tfa
    .command('add')
    .description('add a second factor: codes of an authenticator, or recovery codes')
    .argument('<USERID>')
    .argument('<TYPE>', 'totp or recovery')
    .option('--description <TEXT>', 'such as the device; of totp')
    .option('--secret-file <FILE>', 'a key that an authenticator has, otpauth://totp/… or base32; - for standard input')
    .option('--code <CODE>', 'a code of that key; without it the terminal asks')
    .option(...STATE_DIR_OPTION)
    .action(async (user: string, type: string, _, each: Command) => await add(user, type, each.optsWithGlobals()));
  tfa
    .command('delete')
    .description('remove a second factor, for example of a lost telephone')
    .argument('<USERID>')
    .argument('<ID>', 'see holdfast tfa list')
    .option(...STATE_DIR_OPTION)
    .action(async (user: string, id: string, _, each: Command) => await remove(user, id, each.optsWithGlobals()));
}

async function list(text: string | undefined, options: StateOptions): Promise<void> {
  const user = text === undefined ? undefined : parseUserId(text);
  const factors = await administer(options, async (administration) => await administration.listTfa(user));
  print(options.outputFormat, factors, (all) =>
    table(
      ['user', 'id', 'type', 'enabled', 'created', 'description'],
      all.flatMap(({ userid, entries }) =>
        entries.map(({ id, type, enable, created, description }) => [
          userid,
          id,
          type,
          enable ? 'yes' : 'no',
          formatTime(created),
          description,
        ]),
      ),
    ),
  );
}

async function add(text: string, type: string, options: AddOptions): Promise<void> {
  const userid = parseUserId(text);
  if (type === 'totp') {
    // The library of codes is loaded for this alone.
    const { addTotp } = await import('../admin/new-totp.ts');
    const id = await administer(options, async (administration) => await addTotp(administration, userid, options));
    const made = { userid, id, type };
    print(options.outputFormat, made, () => `added ${type} as the second factor ${id} of ${userid}`);
    return;
  }
  if (type !== 'recovery')
    throw new HoldfastError(
      'bad-argument',
      `a second factor is totp or recovery, not ${JSON.stringify(type.slice(0, 40))}`,
    );
  if (options.code !== undefined || options.secretFile !== undefined || options.description !== undefined)
    throw new HoldfastError(
      'bad-argument',
      'recovery codes are made by the server: --code, --secret-file and --description are of totp',
    );
  const recovery = await administer(options, async (administration) => {
    await administration.checkTfaUser(userid);
    return await administration.addRecovery(userid);
  });
  print(options.outputFormat, { userid, id: 'recovery', type, recovery }, () =>
    [
      `recovery codes of ${userid}; each is good once, and they are not shown again:`,
      ...recovery.map((code) => `  ${code}`),
    ].join('\n'),
  );
}

async function remove(text: string, id: string, options: StateOptions): Promise<void> {
  const userid = parseUserId(text);
  await administer(options, async (administration) => await administration.deleteTfa(userid, id));
  print(options.outputFormat, { userid, id, deleted: true }, () => `removed the second factor ${id} of ${userid}`);
}
