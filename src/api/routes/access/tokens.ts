// /access/users/{userid}/token: API tokens of a user.
import { Type } from 'typebox';
import { parseUserId } from '../../../schema/auth-id.ts';
import { defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { Comment, Digest, Expire, Nothing, TokenName, UserIdText } from '../parameters.ts';
import { TokenRow, tokenRow } from './token-row.ts';
import { mayChange, mayLook } from './user-rules.ts';

const TOKENS = '/access/users/{userid}/token';
const ONE_TOKEN = `${TOKENS}/{token-name}`;
const OfToken = { userid: UserIdText, 'token-name': TokenName };
const Fields = {
  comment: Type.Optional(Comment),
  enable: Type.Optional(Type.Boolean()),
  expire: Type.Optional(Expire),
  digest: Type.Optional(Digest),
};

export const TOKEN_METHODS = [
  defineMethod({
    method: 'GET',
    path: TOKENS,
    description: 'The API tokens of a user.',
    access: mayLook,
    parameters: Type.Object({ userid: UserIdText }),
    returns: Type.Array(Type.Intersect([TokenRow, Type.Object({ 'token-name': Type.String() })])),
    handler: (call, { userid }) => {
      const { tokens, digest } = call.services.access.listTokens(actorOf(call), parseUserId(userid));
      call.attach('digest', digest);
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
    handler: (call, { userid, 'token-name': name }) => {
      const { token, digest } = call.services.access.getToken(actorOf(call), parseUserId(userid), name);
      call.attach('digest', digest);
      return tokenRow(token);
    },
  }),
  defineMethod({
    method: 'POST',
    path: ONE_TOKEN,
    description: 'Makes an API token. Its secret is in this answer and nowhere else.',
    access: mayChange,
    parameters: Type.Object({ ...OfToken, ...Fields }),
    returns: Type.Object({ tokenid: Type.String(), value: Type.String() }),
    handler: (call, { userid, 'token-name': name, ...fields }) => {
      const { tokenid, value } = call.services.access.createToken(actorOf(call), parseUserId(userid), name, fields);
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
      ...Fields,
      regenerate: Type.Boolean({ default: false, description: 'A new secret; the old one is good no more.' }),
      delete: Type.Optional(Type.Array(Type.Enum(['comment']), { maxItems: 16 })),
    }),
    returns: Type.Union([Type.Null(), Type.Object({ secret: Type.String() })]),
    handler: (call, { userid, 'token-name': name, delete: emptied, ...changes }) => {
      const deleteComment = emptied?.includes('comment') ?? false;
      const { access } = call.services;
      const secret = access.updateToken(actorOf(call), parseUserId(userid), name, { ...changes, deleteComment });
      return secret === undefined ? null : { secret };
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: ONE_TOKEN,
    description: 'Removes an API token with its access control entries.',
    access: mayChange,
    parameters: Type.Object({ ...OfToken, digest: Type.Optional(Digest) }),
    returns: Nothing,
    handler: (call, { userid, 'token-name': name, digest }) => {
      call.services.access.deleteToken(actorOf(call), parseUserId(userid), name, digest);
      return null;
    },
  }),
];
