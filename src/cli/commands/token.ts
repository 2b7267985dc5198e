// holdfast token list | create | regenerate | delete: API tokens of users. A secret is printed once, when it is made.
import type { Command } from 'commander';
import { parseTokenName, parseUserId, tokenIdOf } from '../../schema/auth-id.ts';
import { type AccountOptions, accountFields, addAccountOptions, shownExpire } from '../admin/account-options.ts';
import { administer } from '../admin/administer.ts';
import type { NewSecret } from '../admin/administration.ts';
import { STATE_DIR_OPTION, type StateOptions } from '../admin/server-state.ts';
import { pairs, print, table } from '../output.ts';

type TokenOptions = StateOptions & AccountOptions;

export function addTokenCommands(program: Command): void {
  const token = program.command('token').description('API tokens, with which programs sign in');
  const command = (name: string, description: string): Command =>
    token
      .command(name)
      .description(description)
      .argument('<USERID>')
      .option(...STATE_DIR_OPTION);
  const ofToken = (name: string, description: string): Command => command(name, description).argument('<TOKEN-NAME>');
  const options = (each: Command): TokenOptions => each.optsWithGlobals();
  command('list', 'the tokens of a user').action(
    async (user: string, _, each: Command) => await list(user, options(each)),
  );
  addAccountOptions(
    ofToken('create', 'make a token; it has no rights before holdfast acl set gives it some'),
    'token',
  ).action(async (user: string, name: string, _, each: Command) => await create(user, name, options(each)));
  ofToken('regenerate', 'give a token a new secret; the old one is good no more').action(
    async (user: string, name: string, _, each: Command) => await regenerate(user, name, options(each)),
  );
  ofToken('delete', 'remove a token with its rights').action(
    async (user: string, name: string, _, each: Command) => await remove(user, name, options(each)),
  );
}

async function list(userText: string, options: TokenOptions): Promise<void> {
  const user = parseUserId(userText);
  const tokens = await administer(options, async (administration) => await administration.listTokens(user));
  print(options.outputFormat, tokens, (all) =>
    table(
      ['token', 'enabled', 'expires', 'comment'],
      all.map(({ tokenid, enable, expire, comment }) => [tokenid, enable ? 'yes' : 'no', shownExpire(expire), comment]),
    ),
  );
}

async function create(userText: string, name: string, options: TokenOptions): Promise<void> {
  const user = parseUserId(userText);
  parseTokenName(name);
  const fields = accountFields(options);
  tell(
    await administer(options, async (administration) => await administration.createToken(user, name, fields)),
    options,
  );
}

async function regenerate(userText: string, name: string, options: TokenOptions): Promise<void> {
  const user = parseUserId(userText);
  parseTokenName(name);
  tell(await administer(options, async (administration) => await administration.regenerateToken(user, name)), options);
}

function tell(secret: NewSecret, { outputFormat }: TokenOptions): void {
  print(
    outputFormat,
    secret,
    ({ tokenid, value }) =>
      `${pairs([
        ['token', tokenid],
        ['secret', value],
      ])}\nthe secret is shown this once`,
  );
}

async function remove(userText: string, name: string, options: TokenOptions): Promise<void> {
  const user = parseUserId(userText);
  const tokenid = tokenIdOf(user, parseTokenName(name));
  await administer(options, async (administration) => await administration.deleteToken(user, name));
  print(options.outputFormat, { tokenid, deleted: true }, () => `removed token ${tokenid} and its rights`);
}
