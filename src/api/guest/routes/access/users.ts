// /access/users: who there is. The same users as those of the backup dialect.
import { type Static, Type } from 'typebox';
import type { UserView } from '../../../../auth/user-accounts.ts';
import { parseUserId, realmOf } from '../../../../schema/auth-id.ts';
import { actorOf } from '../../../routes/actor.ts';
import { Expire, Password, ShortLine, UserIdText } from '../../../routes/parameters.ts';
import { defineGuestMethod } from '../../method.ts';
import { Flag, flag, Nothing } from '../parameters.ts';
import { requireNoGroups } from './groups.ts';
import { fullTokens, TokenInfo, TokenRow, tokenInfoOf, tokenRowOf } from './token-row.ts';

const PATH = '/access/users';
const Comment = Type.String({ maxLength: 2048, description: 'Any text.' });
const Groups = Type.Optional(
  Type.String({ maxLength: 4096, description: 'There are none: only an empty list is taken.' }),
);
const Fields = {
  comment: Type.Optional(Comment),
  email: Type.Optional(Type.String({ maxLength: 254 })),
  firstname: Type.Optional(ShortLine),
  lastname: Type.Optional(ShortLine),
  enable: Type.Optional(Type.Boolean()),
  expire: Type.Optional(Expire),
  groups: Groups,
};
const User = {
  enable: Flag,
  expire: Type.Integer(),
  comment: Type.Optional(Type.String()),
  email: Type.Optional(Type.String()),
  firstname: Type.Optional(Type.String()),
  lastname: Type.Optional(Type.String()),
};
const Row = Type.Object({
  ...User,
  userid: Type.String(),
  'realm-type': Type.String(),
  groups: Type.Optional(Type.String()),
  tokens: Type.Optional(Type.Array(TokenRow)),
});

export const USER_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: PATH,
    description: 'The users; without Sys.Audit on /access/users only oneself.',
    access: { auth: true },
    parameters: Type.Object({
      enabled: Type.Optional(Type.Boolean({ description: 'Only those that are, or are not.' })),
      full: Type.Boolean({ default: false, description: 'With groups and tokens.' }),
    }),
    returns: Type.Array(Row),
    handler: (call, { enabled, full }) => {
      const { access, realms } = call.services;
      const { users } = access.listUsers(actorOf(call));
      const tokensInFull = fullTokens(call);
      const typeOf = (realm: string): string => realms.find((each) => each.realm === realm)?.type ?? 'pve';
      return users
        .filter(({ enable }) => enabled === undefined || enable === enabled)
        .map((user) => ({
          ...shownUser(user),
          userid: user.userid,
          'realm-type': typeOf(realmOf(user.userid)),
          ...(full
            ? {
                groups: '',
                tokens: access
                  .listTokens(actorOf(call), user.userid)
                  .tokens.map((each) => tokenRowOf(tokensInFull, each)),
              }
            : {}),
        }));
    },
  }),
  defineGuestMethod({
    method: 'POST',
    path: PATH,
    description: 'Adds a user, with Permissions.Modify on /access/users.',
    access: { auth: true },
    parameters: Type.Object({ ...Fields, userid: UserIdText, password: Type.Optional(Password) }),
    returns: Nothing,
    handler: async (call, { userid, groups, ...fields }) => {
      requireNoGroups(groups);
      await call.services.access.createUser(actorOf(call), { userid: parseUserId(userid), ...fields });
      return null;
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/{userid}`,
    description: 'One user.',
    access: { auth: true },
    parameters: Type.Object({ userid: UserIdText }),
    returns: Type.Object({
      ...User,
      groups: Type.Array(Type.String()),
      tokens: Type.Record(Type.String(), TokenInfo),
    }),
    handler: (call, { userid }) => {
      const { access } = call.services;
      const user = parseUserId(userid);
      const { tokens } = access.listTokens(actorOf(call), user);
      const tokensInFull = fullTokens(call);
      return {
        ...shownUser(access.getUser(actorOf(call), user).user),
        groups: [],
        tokens: Object.fromEntries(tokens.map((token) => [token.tokenName, tokenInfoOf(tokensInFull, token)])),
      };
    },
  }),
  defineGuestMethod({
    method: 'PUT',
    path: `${PATH}/{userid}`,
    description: 'Changes what is kept of a user.',
    access: { auth: true },
    parameters: Type.Object({
      ...Fields,
      userid: UserIdText,
      append: Type.Boolean({ default: false, description: 'Of groups, which there are not.' }),
    }),
    returns: Nothing,
    handler: async (call, { userid, groups, append: _, ...changes }) => {
      requireNoGroups(groups);
      await call.services.access.updateUser(actorOf(call), parseUserId(userid), changes);
      return null;
    },
  }),
  defineGuestMethod({
    method: 'DELETE',
    path: `${PATH}/{userid}`,
    description: 'Removes a user with its tokens and rights.',
    access: { auth: true },
    parameters: Type.Object({ userid: UserIdText }),
    returns: Nothing,
    handler: (call, { userid }) => {
      call.services.access.deleteUser(actorOf(call), parseUserId(userid));
      return null;
    },
  }),
];

function shownUser({ enable, expire, comment, email, firstname, lastname }: UserView): Static<typeof Shown> {
  const texts = Object.entries({ comment, email, firstname, lastname }).filter(([, text]) => text !== '');
  return { enable: flag(enable), expire, ...Object.fromEntries(texts) };
}

const Shown = Type.Object(User);
