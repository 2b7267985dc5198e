// holdfast tfa list | delete: second factors of users. They are added where their user is: in the web interface, or through the API.
import type { Command } from 'commander';
import { parseUserId } from '../../schema/auth-id.ts';
import { formatTime } from '../../schema/names.ts';
import { administer } from '../admin/administer.ts';
import { STATE_DIR_OPTION, type StateOptions } from '../admin/server-state.ts';
import { print, table } from '../output.ts';

export function addTfaCommands(program: Command): void {
  const tfa = program.command('tfa').description('second factors of users');
  tfa
    .command('list')
    .description('of a user, or of all that have any')
    .argument('[USERID]')
    .option(...STATE_DIR_OPTION)
    .action(async (user: string | undefined, _, each: Command) => await list(user, each.optsWithGlobals()));
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

async function remove(text: string, id: string, options: StateOptions): Promise<void> {
  const userid = parseUserId(text);
  await administer(options, async (administration) => await administration.deleteTfa(userid, id));
  print(options.outputFormat, { userid, id, deleted: true }, () => `removed the second factor ${id} of ${userid}`);
}
