// /access/users: users of this server.

import { type Static, Type } from 'typebox';
import type { TokenView } from '../../../auth/token-accounts.ts';
import type { UserView } from '../../../auth/user-accounts.ts';
import { parseUserId } from '../../../schema/auth-id.ts';
import { defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { Comment, Digest, Expire, Nothing, Password, ShortLine, UserIdText } from '../parameters.ts';
import { TokenRow, tokenRow } from './token-row.ts';
import { mayChange, mayLook, mayManage, USERS } from './user-rules.ts';

const UserRow = Type.Object({
  userid: Type.String(),
  comment: Type.Optional(Type.String()),
  firstname: Type.Optional(Type.String()),
  lastname: Type.Optional(Type.String()),
  email: Type.Optional(Type.String()),
  enable: Type.Optional(Type.Boolean()),
  expire: Type.Optional(Type.Integer()),
  'totp-locked': Type.Optional(Type.Boolean()),
  'tfa-locked-until': Type.Optional(Type.Integer()),
  tokens: Type.Optional(Type.Array(TokenRow)),
});
const Fields = {
  comment: Type.Optional(Comment),
  firstname: Type.Optional(ShortLine),
  lastname: Type.Optional(ShortLine),
  email: Type.Optional(ShortLine),
  enable: Type.Optional(Type.Boolean()),
  expire: Type.Optional(Expire),
  password: Type.Optional(Password),
};
const TEXTS = ['comment', 'firstname', 'lastname', 'email'] as const;

/** Parts that say nothing are left out, as clients expect them. */
function userRow(user: UserView, tokens?: readonly TokenView[]): Static<typeof UserRow> {
  const texts = TEXTS.filter((name) => user[name] !== '').map((name) => [name, user[name]]);
  return {
    ...Object.fromEntries(texts),
    userid: user.userid,
    ...(user.enable ? {} : { enable: false }),
    ...(user.expire === 0 ? {} : { expire: user.expire }),
    ...(user.totpLocked ? { 'totp-locked': true } : {}),
    ...(user.tfaLockedUntil === 0 ? {} : { 'tfa-locked-until': user.tfaLockedUntil }),
    ...(tokens === undefined ? {} : { tokens: tokens.map(tokenRow) }),
  };
}

export const USER_METHODS = [
  defineMethod({
    method: 'GET',
    path: USERS,
    description: 'All users; without Sys.Audit on /access/users the caller alone.',
    access: { auth: true },
    parameters: Type.Object({ include_tokens: Type.Boolean({ default: false }) }),
    returns: Type.Array(UserRow),
    handler: (call, { include_tokens: withTokens }) => {
      const { access } = call.services;
      const actor = actorOf(call);
      const { users, digest } = access.listUsers(actor);
      call.attach('digest', digest);
      return users.map((user) => userRow(user, withTokens ? access.listTokens(actor, user.userid).tokens : undefined));
    },
  }),
  defineMethod({
    method: 'POST',
    path: USERS,
    description: 'Makes a user.',
    access: mayManage,
    parameters: Type.Object({ userid: UserIdText, ...Fields }),
    returns: Nothing,
    handler: async (call, { userid, ...fields }) => {
      await call.services.access.createUser(actorOf(call), { ...fields, userid: parseUserId(userid) });
      return null;
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${USERS}/{userid}`,
    description: 'One user.',
    access: mayLook,
    parameters: Type.Object({ userid: UserIdText }),
    returns: UserRow,
    handler: (call, { userid }) => {
      const { user, digest } = call.services.access.getUser(actorOf(call), parseUserId(userid));
      call.attach('digest', digest);
      return userRow(user);
    },
  }),
  defineMethod({
    method: 'PUT',
    path: `${USERS}/{userid}`,
    description: 'Changes a user. Users may change their own name, address and comment.',
    access: mayChange,
    parameters: Type.Object({
      userid: UserIdText,
      ...Fields,
      delete: Type.Optional(Type.Array(Type.Enum([...TEXTS]), { maxItems: 16 })),
      digest: Type.Optional(Digest),
    }),
    returns: Nothing,
    handler: async (call, { userid, ...changes }) => {
      await call.services.access.updateUser(actorOf(call), parseUserId(userid), changes);
      return null;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${USERS}/{userid}`,
    description: 'Removes a user with its tokens.',
    access: mayManage,
    parameters: Type.Object({ userid: UserIdText, digest: Type.Optional(Digest) }),
    returns: Nothing,
    handler: (call, { userid, digest }) => {
      call.services.access.deleteUser(actorOf(call), parseUserId(userid), digest);
      return null;
    },
  }),
];
