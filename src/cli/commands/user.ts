// holdfast user list | create | update | delete | passwd | unlock-tfa: users of a server.
import type { Command } from 'commander';
import type { UserView } from '../../auth/user-accounts.ts';
import { parseUserId } from '../../schema/auth-id.ts';
import { formatTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type AccountOptions, accountFields, addAccountOptions, shownExpire } from '../admin/account-options.ts';
import { administer } from '../admin/administer.ts';
import { newPassword, PASSWORD_FILE_OPTION } from '../admin/new-password.ts';
import { STATE_DIR_OPTION, type StateOptions } from '../admin/server-state.ts';
import { print, table } from '../output.ts';

interface UserOptions extends StateOptions, AccountOptions {
  readonly firstname?: string;
  readonly lastname?: string;
  readonly email?: string;
  readonly passwordFile?: string;
  /** False with `--no-password`. */
  readonly password?: boolean;
}

export function addUserCommands(program: Command): void {
  const user = program.command('user').description('users of a server');
  const command = (name: string, description: string): Command =>
    user
      .command(name)
      .description(description)
      .option(...STATE_DIR_OPTION);
  const options = (each: Command): UserOptions => each.optsWithGlobals();
  command('list', 'all users').action(async (_, each: Command) => await list(options(each)));
  textOptions(command('create', 'make a user of the realm local').argument('<USERID>', 'such as anna@local'))
    .option(...PASSWORD_FILE_OPTION)
    .option('--no-password', 'without one: only its API tokens let somebody in')
    .action(async (userid: string, _, each: Command) => await create(userid, options(each)));
  textOptions(
    command('update', 'change what is known of a user; an empty text takes it away').argument('<USERID>'),
  ).action(async (userid: string, _, each: Command) => await update(userid, options(each)));
  command('delete', 'remove a user with its tokens, second factors and rights')
    .argument('<USERID>')
    .action(async (userid: string, _, each: Command) => await remove(userid, options(each)));
  command('passwd', 'give a user a new password; its sessions end')
    .argument('<USERID>')
    .option(...PASSWORD_FILE_OPTION)
    .action(async (userid: string, _, each: Command) => await setPassword(userid, options(each)));
  command('unlock-tfa', 'let a user try again whose second factor is locked')
    .argument('<USERID>')
    .action(async (userid: string, _, each: Command) => await unlock(userid, options(each)));
}

function textOptions(command: Command): Command {
  return addAccountOptions(command, 'user')
    .option('--firstname <TEXT>')
    .option('--lastname <TEXT>')
    .option('--email <TEXT>');
}

function textFields({ firstname, lastname, email }: UserOptions) {
  return {
    ...(firstname !== undefined && { firstname }),
    ...(lastname !== undefined && { lastname }),
    ...(email !== undefined && { email }),
  };
}

async function list(options: UserOptions): Promise<void> {
  const users = await administer(options, async (administration) => await administration.listUsers());
  print(options.outputFormat, users, (all) =>
    table(['user', 'enabled', 'expires', 'second factor', 'name', 'e-mail', 'comment'], all.map(rowOf)),
  );
}

function rowOf(user: UserView): string[] {
  const { userid, enable, expire, firstname, lastname, email, comment } = user;
  const name = `${firstname} ${lastname}`.trim();
  return [userid, enable ? 'yes' : 'no', shownExpire(expire), shownLock(user), name, email, comment];
}

function shownLock({ totpLocked, tfaLockedUntil }: UserView): string {
  if (totpLocked) return 'locked';
  return tfaLockedUntil * 1000 > Date.now() ? `locked until ${formatTime(tfaLockedUntil)}` : '';
}

async function create(text: string, options: UserOptions): Promise<void> {
  const userid = parseUserId(text);
  const fields = { ...accountFields(options), ...textFields(options) };
  await administer(options, async (administration) => {
    // Nobody types a password twice to hear that the user is there.
    if ((await administration.listUsers()).some((user) => user.userid === userid))
      throw new HoldfastError('exists', `user ${userid} is there already; change it with holdfast user update`);
    const password = options.password === false ? {} : { password: await newPassword(userid, options.passwordFile) };
    await administration.createUser({ userid, ...fields, ...password });
  });
  print(options.outputFormat, { userid }, () => `made user ${userid}; give it rights with holdfast acl set`);
}

async function update(text: string, options: UserOptions): Promise<void> {
  const userid = parseUserId(text);
  const given = { ...accountFields(options), ...textFields(options) };
  if (Object.keys(given).length === 0)
    throw new HoldfastError('bad-argument', 'nothing to change was given; see holdfast user update --help');
  await administer(options, async (administration) => await administration.updateUser(userid, given));
  print(options.outputFormat, { userid, ...given }, () => `changed user ${userid}`);
}

async function remove(text: string, options: UserOptions): Promise<void> {
  const userid = parseUserId(text);
  await administer(options, async (administration) => await administration.deleteUser(userid));
  print(options.outputFormat, { userid, deleted: true }, () => `removed user ${userid}, its tokens and its rights`);
}

async function setPassword(text: string, options: UserOptions): Promise<void> {
  const userid = parseUserId(text);
  await administer(options, async (administration) => {
    if (!(await administration.listUsers()).some((user) => user.userid === userid))
      throw new HoldfastError('not-found', `there is no user ${userid}; see holdfast user list`);
    await administration.setPassword(userid, await newPassword(userid, options.passwordFile));
  });
  print(options.outputFormat, { userid }, () => `${userid} has a new password`);
}

async function unlock(text: string, options: UserOptions): Promise<void> {
  const userid = parseUserId(text);
  const wasLocked = await administer(options, async (administration) => await administration.unlockTfa(userid));
  print(options.outputFormat, { userid, wasLocked }, () =>
    wasLocked ? `${userid} may try again` : `nothing of ${userid} was locked`,
  );
}
