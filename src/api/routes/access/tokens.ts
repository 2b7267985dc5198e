// /access/users/{userid}/token: API tokens of a user.
import { Type } from 'typebox';
import { parseUserId, type UserId } from '../../../schema/auth-id.ts';
import { ApiError } from '../../dialect/failure.ts';
import { digestOf, requireUnchanged } from '../../digest.ts';
import { type Call, defineMethod, type PrivilegeRule } from '../../method.ts';
import type { TokenDetails } from '../../services.ts';
import { actorOf } from '../actor.ts';
import { Comment, Digest, Expire, Nothing, TokenName, UserIdText } from '../parameters.ts';
import { TokenRow, tokenRow } from './token-row.ts';
import { findUser } from './users.ts';

const TOKENS = '/access/users/{userid}/token';
const ONE_TOKEN = `${TOKENS}/{token-name}`;
const OfToken = { userid: UserIdText, 'token-name': TokenName };

function mayLook({ userid }: { readonly userid: string }): PrivilegeRule {
  return { path: '/access/users', anyOf: ['Sys.Audit'], orUser: userid };
}

function mayChange({ userid }: { readonly userid: string }): PrivilegeRule {
  return { path: '/access/users', anyOf: ['Permissions.Modify'], orUser: userid };
}

function tokensOf(call: Call, userid: UserId): readonly TokenDetails[] {
  return call.services.access.listTokens(findUser(call, userid).userid);
}

/** @throws ApiError 400. */
function findToken(call: Call, userid: UserId, name: string): TokenDetails {
  const token = tokensOf(call, userid).find(({ tokenName }) => tokenName === name);
  if (token === undefined) throw new ApiError(400, 'not-found', `token '${name}' for user '${userid}' does not exist.`);
  return token;
}

export const TOKEN_METHODS = [
  defineMethod({
    method: 'GET',
    path: TOKENS,
    description: 'The API tokens of a user.',
    access: mayLook,
    parameters: Type.Object({ userid: UserIdText }),
    returns: Type.Array(Type.Intersect([TokenRow, Type.Object({ 'token-name': Type.String() })])),
    handler: (call, { userid }) => {
      const tokens = tokensOf(call, parseUserId(userid));
      call.attach('digest', digestOf(tokens));
      return tokens.map((token) => ({ ...tokenRow(token), 'token-name': token.tokenName }));
    },
  }),
  defineMethod({
    method: 'GET',
    path: ONE_TOKEN,
    description: 'One API token.',
    access: mayLook,
    parameters: Type.Object(OfToken),
    returns: TokenRow,
    handler: (call, { userid: text, 'token-name': name }) => {
      const userid = parseUserId(text);
      const token = findToken(call, userid, name);
      call.attach('digest', digestOf(tokensOf(call, userid)));
      return tokenRow(token);
    },
  }),
  defineMethod({
    method: 'POST',
    path: ONE_TOKEN,
    description: 'Makes an API token. Its secret is in this answer and nowhere else.',
    access: mayChange,
    parameters: Type.Object({
      ...OfToken,
      comment: Type.Optional(Comment),
      enable: Type.Boolean({ default: true }),
      expire: Type.Optional(Expire),
      digest: Type.Optional(Digest),
    }),
    returns: Type.Object({ tokenid: Type.String(), value: Type.String() }),
    handler: async (call, { userid: text, 'token-name': name, digest, ...token }) => {
      const userid = parseUserId(text);
      const before = tokensOf(call, userid);
      requireUnchanged(digest, before);
      if (before.some(({ tokenName }) => tokenName === name))
        throw new ApiError(400, 'exists', `token '${name}' for user '${userid}' already exists.`);
      const { tokenid, value } = await call.services.access.createToken(userid, name, token, actorOf(call));
      return { tokenid, value };
    },
  }),
  defineMethod({
    method: 'PUT',
    path: ONE_TOKEN,
    description: 'Changes an API token, or gives it a new secret.',
    access: mayChange,
    parameters: Type.Object({
      ...OfToken,
      comment: Type.Optional(Comment),
      enable: Type.Optional(Type.Boolean()),
      expire: Type.Optional(Expire),
      regenerate: Type.Boolean({ default: false, description: 'A new secret; the old one is good no more.' }),
      delete: Type.Optional(Type.Array(Type.Enum(['comment']), { maxItems: 16 })),
      digest: Type.Optional(Digest),
    }),
    returns: Type.Union([Type.Null(), Type.Object({ secret: Type.String() })]),
    handler: async (call, { userid: text, 'token-name': name, regenerate, delete: removed, digest, ...change }) => {
      const userid = parseUserId(text);
      findToken(call, userid, name);
      requireUnchanged(digest, tokensOf(call, userid));
      const gone = removed?.includes('comment') ? { comment: null } : {};
      await call.services.access.updateToken(userid, name, { ...change, ...gone }, actorOf(call));
      if (!regenerate) return null;
      return { secret: await call.services.access.regenerateToken(userid, name, actorOf(call)) };
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: ONE_TOKEN,
    description: 'Removes an API token with its access control entries.',
    access: mayChange,
    parameters: Type.Object({ ...OfToken, digest: Type.Optional(Digest) }),
    returns: Nothing,
    handler: async (call, { userid: text, 'token-name': name, digest }) => {
      const userid = parseUserId(text);
      findToken(call, userid, name);
      requireUnchanged(digest, tokensOf(call, userid));
      await call.services.access.deleteToken(userid, name, actorOf(call));
      return null;
    },
  }),
];
