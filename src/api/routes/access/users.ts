// /access/users: users of this server.
import { type Static, Type } from 'typebox';
import { parseUserId, type UserId, userOf } from '../../../schema/auth-id.ts';
import { ApiError } from '../../dialect/failure.ts';
import { digestOf, requireUnchanged } from '../../digest.ts';
import { type Call, callerOf, defineMethod } from '../../method.ts';
import type { TokenDetails, UserDetails } from '../../services.ts';
import { actorOf } from '../actor.ts';
import { Comment, Digest, Expire, Nothing, Password, ShortLine, UserIdText } from '../parameters.ts';
import { TokenRow, tokenRow } from './token-row.ts';

const USERS = '/access/users';
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
const Names = {
  comment: Type.Optional(Comment),
  firstname: Type.Optional(ShortLine),
  lastname: Type.Optional(ShortLine),
  email: Type.Optional(ShortLine),
  expire: Type.Optional(Expire),
};
const REMOVABLE = ['comment', 'firstname', 'lastname', 'email'] as const;

/** Parts that say nothing are left out, as clients expect them. */
function userRow(user: UserDetails, tokens?: readonly TokenDetails[]): Static<typeof UserRow> {
  const texts = REMOVABLE.flatMap((name) => (user[name] === undefined ? [] : [[name, user[name]]]));
  return {
    ...Object.fromEntries(texts),
    userid: user.userid,
    ...(user.enable ? {} : { enable: false }),
    ...(user.expire === 0 ? {} : { expire: user.expire }),
    ...(user.totpLocked ? { 'totp-locked': true } : {}),
    ...(user.tfaLockedUntil === undefined ? {} : { 'tfa-locked-until': user.tfaLockedUntil }),
    ...(tokens === undefined ? {} : { tokens: tokens.map(tokenRow) }),
  };
}

/** The digest is of what stands in the list, not of locks that come and go. */
function usersDigest({ services }: Call): UserDetails[] {
  return services.access.listUsers().map(({ totpLocked: _, tfaLockedUntil: __, ...user }) => user);
}

/** @throws ApiError 400. */
export function findUser({ services }: Call, userid: UserId): UserDetails {
  const user = services.access.listUsers().find((each) => each.userid === userid);
  if (user === undefined) throw new ApiError(400, 'not-found', `no such user '${userid}'`);
  return user;
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
      const { access, permissions } = call.services;
      const caller = callerOf(call);
      const seesAll = permissions.has(caller, USERS, 'Sys.Audit');
      call.attach('digest', digestOf(usersDigest(call)));
      return access
        .listUsers()
        .filter(({ userid }) => seesAll || userid === userOf(caller))
        .map((user) => userRow(user, withTokens ? access.listTokens(user.userid) : undefined));
    },
  }),
  defineMethod({
    method: 'POST',
    path: USERS,
    description: 'Makes a user.',
    access: () => ({ path: USERS, anyOf: ['Permissions.Modify'] }),
    parameters: Type.Object({
      userid: UserIdText,
      password: Type.Optional(Password),
      enable: Type.Boolean({ default: true }),
      ...Names,
    }),
    returns: Nothing,
    handler: async (call, { userid: text, password, enable, expire, ...names }) => {
      const userid = parseUserId(text);
      if (call.services.access.listUsers().some((user) => user.userid === userid))
        throw new ApiError(400, 'exists', `user '${userid}' already exists.`);
      await call.services.access.createUser({ userid, enable, expire: expire ?? 0, ...names }, password, actorOf(call));
      return null;
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${USERS}/{userid}`,
    description: 'One user.',
    access: ({ userid }) => ({ path: USERS, anyOf: ['Sys.Audit'], orUser: userid }),
    parameters: Type.Object({ userid: UserIdText }),
    returns: UserRow,
    handler: (call, { userid }) => {
      const user = findUser(call, parseUserId(userid));
      call.attach('digest', digestOf(usersDigest(call)));
      return userRow(user);
    },
  }),
  defineMethod({
    method: 'PUT',
    path: `${USERS}/{userid}`,
    description: 'Changes a user.',
    access: () => ({ path: USERS, anyOf: ['Permissions.Modify'] }),
    parameters: Type.Object({
      userid: UserIdText,
      password: Type.Optional(Password),
      enable: Type.Optional(Type.Boolean()),
      ...Names,
      delete: Type.Optional(Type.Array(Type.Enum([...REMOVABLE]), { maxItems: 16 })),
      digest: Type.Optional(Digest),
    }),
    returns: Nothing,
    handler: async (call, { userid: text, password, delete: removed, digest, ...change }) => {
      const { userid } = findUser(call, parseUserId(text));
      requireUnchanged(digest, usersDigest(call));
      const gone = Object.fromEntries((removed ?? []).map((name) => [name, null]));
      await call.services.access.updateUser(userid, { ...change, ...gone }, actorOf(call));
      if (password !== undefined) await call.services.access.setPassword(userid, password, undefined, actorOf(call));
      return null;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${USERS}/{userid}`,
    description: 'Removes a user with its tokens; its access control entries stay.',
    access: () => ({ path: USERS, anyOf: ['Permissions.Modify'] }),
    parameters: Type.Object({ userid: UserIdText, digest: Type.Optional(Digest) }),
    returns: Nothing,
    handler: async (call, { userid: text, digest }) => {
      const userid = parseUserId(text);
      requireUnchanged(digest, usersDigest(call));
      if (!call.services.access.listUsers().some((user) => user.userid === userid))
        throw new ApiError(400, 'not-found', `user '${userid}' does not exist.`);
      await call.services.access.deleteUser(userid, actorOf(call));
      return null;
    },
  }),
];
