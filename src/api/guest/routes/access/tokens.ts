// /access/users/{userid}/token: keys of a user for programs.
import { Type } from 'typebox';
import { parseUserId, tokenIdOf, type UserId } from '../../../../schema/auth-id.ts';
import { actorOf } from '../../../routes/actor.ts';
import { Comment, Expire, TokenName, UserIdText } from '../../../routes/parameters.ts';
import { defineGuestMethod, type GuestCall } from '../../method.ts';
import { given, KeyList, listOf, Nothing } from '../parameters.ts';
import { FULL, fullTokens, TokenInfo, TokenRow, tokenInfoOf, tokenRowOf } from './token-row.ts';

const PATH = '/access/users/{userid}/token';
const OfToken = { userid: UserIdText, tokenid: TokenName };
const Fields = {
  ...OfToken,
  comment: Type.Optional(Comment),
  expire: Type.Optional(Expire),
};

export const TOKEN_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: PATH,
    description: 'The tokens of a user.',
    access: { auth: true },
    parameters: Type.Object({ userid: UserIdText }),
    returns: Type.Array(TokenRow),
    handler: (call, { userid }) => {
      const { tokens } = call.services.access.listTokens(actorOf(call), parseUserId(userid));
      const full = fullTokens(call);
      return tokens.map((token) => tokenRowOf(full, token));
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/{tokenid}`,
    description: 'One token.',
    access: { auth: true },
    parameters: Type.Object(OfToken),
    returns: TokenInfo,
    handler: (call, { userid, tokenid }) => infoOf(call, parseUserId(userid), tokenid),
  }),
  defineGuestMethod({
    method: 'POST',
    path: `${PATH}/{tokenid}`,
    description: 'Makes a token; its secret is in this answer and nowhere else.',
    access: { auth: true },
    parameters: Type.Object({
      ...Fields,
      privsep: Type.Boolean({ default: true, description: '0: it has all rights of its user; else none but its own.' }),
    }),
    returns: Type.Object({ 'full-tokenid': Type.String(), value: Type.String(), info: TokenInfo }),
    handler: (call, { userid, tokenid, privsep, ...fields }) => {
      const user = parseUserId(userid);
      const made = call.services.access.createToken(actorOf(call), user, tokenid, fields);
      if (!privsep) giveAll(call, user, tokenid);
      return { 'full-tokenid': made.tokenid, value: made.value, info: infoOf(call, user, tokenid) };
    },
  }),
  defineGuestMethod({
    method: 'PUT',
    path: `${PATH}/{tokenid}`,
    description: 'Changes what is kept of a token.',
    access: { auth: true },
    parameters: Type.Object({
      ...Fields,
      privsep: Type.Optional(Type.Boolean()),
      delete: Type.Optional(KeyList),
      regenerate: Type.Boolean({ default: false, description: 'A new secret; the old one ends.' }),
    }),
    returns: Type.Object({ ...TokenInfo.properties, value: Type.Optional(Type.String()) }),
    handler: (call, { userid, tokenid, privsep, delete: removed, regenerate, ...fields }) => {
      const user = parseUserId(userid);
      const emptied = listOf(removed);
      const value = call.services.access.updateToken(actorOf(call), user, tokenid, {
        ...fields,
        ...(emptied.includes('expire') ? { expire: 0 } : {}),
        deleteComment: emptied.includes('comment'),
        regenerate,
      });
      const wasFull = infoOf(call, user, tokenid).privsep === 0;
      if (privsep !== undefined && privsep === wasFull) setFull(call, user, tokenid, !privsep);
      return { ...infoOf(call, user, tokenid), ...given({ value }) };
    },
  }),
  defineGuestMethod({
    method: 'DELETE',
    path: `${PATH}/{tokenid}`,
    description: 'Removes a token with its rights.',
    access: { auth: true },
    parameters: Type.Object(OfToken),
    returns: Nothing,
    handler: (call, { userid, tokenid }) => {
      call.services.access.deleteToken(actorOf(call), parseUserId(userid), tokenid);
      return null;
    },
  }),
];

function infoOf(call: GuestCall, user: UserId, tokenid: string) {
  return tokenInfoOf(fullTokens(call), call.services.access.getToken(actorOf(call), user, tokenid).token);
}

/** Whoever may make the token but not give it all rights is left without it. */
function giveAll(call: GuestCall, user: UserId, tokenid: string): void {
  try {
    setFull(call, user, tokenid, true);
  } catch (error) {
    call.services.access.deleteToken(actorOf(call), user, tokenid);
    throw error;
  }
}

function setFull(call: GuestCall, user: UserId, tokenid: string, isFull: boolean): void {
  const change = { ...FULL, authId: tokenIdOf(user, tokenid) };
  call.services.access.changeAcl(actorOf(call), isFull ? change : { ...change, delete: true });
}
