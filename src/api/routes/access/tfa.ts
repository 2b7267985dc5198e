// /access/tfa: second factors of users. None of it through a token: a stolen one must not take the second factor away.
import { Type } from 'typebox';
import { parseUserId, tokenNameOf, type UserId } from '../../../schema/auth-id.ts';
import { denied } from '../../check-access.ts';
import { ApiError, ParameterError } from '../../dialect/failure.ts';
import { type Call, callerOf, defineMethod, type PrivilegeRule } from '../../method.ts';
import type { TfaRow as TfaDetails } from '../../services.ts';
import { actorOf } from '../actor.ts';
import { Comment, Nothing, UserIdText } from '../parameters.ts';
import { findUser } from './users.ts';

const FACTORS = '/access/tfa/{userid}';
const EntryId = Type.String({
  pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*$',
  maxLength: 64,
  description: 'A second factor.',
});
const OwnPassword = Type.Optional(Type.String({ maxLength: 1024, description: 'The password of whoever asks.' }));
const TfaRow = Type.Object({
  id: Type.String(),
  type: Type.Enum(['totp', 'recovery']),
  description: Type.String(),
  created: Type.Integer(),
  enable: Type.Boolean(),
});

function mayLook({ userid }: { readonly userid: string }): PrivilegeRule {
  return { path: '/access/users', anyOf: ['Sys.Audit'], orUser: userid };
}

function mayChange({ userid }: { readonly userid: string }): PrivilegeRule {
  return { path: '/access/users', anyOf: ['Permissions.Modify'], orUser: userid };
}

/** The user, and a refusal for tokens. @throws ApiError 400, 403. */
function userFor(call: Call, text: string): UserId {
  const caller = callerOf(call);
  if (tokenNameOf(caller) !== undefined) throw denied(caller, mayChange({ userid: text }));
  return findUser(call, parseUserId(text)).userid;
}

function rowOf({ id, type, description, created, enable }: TfaDetails) {
  return { id, type, description, created, enable };
}

/** @throws ApiError 400. */
function findFactor(call: Call, userid: UserId, id: string): TfaDetails {
  const found = call.services.access.listTfa(userid).find((each) => each.id === id);
  if (found === undefined) throw new ApiError(400, 'not-found', `no such tfa entry '${userid}/${id}'`);
  return found;
}

export const TFA_METHODS = [
  defineMethod({
    method: 'GET',
    path: FACTORS,
    description: 'The second factors of a user.',
    access: mayLook,
    parameters: Type.Object({ userid: UserIdText }),
    returns: Type.Array(TfaRow),
    handler: (call, { userid }) => call.services.access.listTfa(findUser(call, parseUserId(userid)).userid).map(rowOf),
  }),
  defineMethod({
    method: 'GET',
    path: `${FACTORS}/{id}`,
    description: 'One second factor.',
    access: mayLook,
    parameters: Type.Object({ userid: UserIdText, id: EntryId }),
    returns: TfaRow,
    handler: (call, { userid, id }) => rowOf(findFactor(call, findUser(call, parseUserId(userid)).userid, id)),
  }),
  defineMethod({
    method: 'POST',
    path: FACTORS,
    description:
      'Adds a second factor: a time-based code, or recovery codes, which are in this answer and nowhere else.',
    access: mayChange,
    parameters: Type.Object({
      userid: UserIdText,
      type: Type.Enum(['totp', 'recovery']),
      description: Type.Optional(Comment),
      totp: Type.Optional(Type.String({ maxLength: 1024, description: 'otpauth:// URI with the secret.' })),
      value: Type.Optional(Type.String({ maxLength: 64, description: 'The code that it shows now.' })),
      password: OwnPassword,
    }),
    returns: Type.Object({ id: Type.String(), recovery: Type.Optional(Type.Array(Type.String())) }),
    handler: async (call, { userid: text, type, description, totp, value, password }) => {
      const userid = userFor(call, text);
      const { access } = call.services;
      if (type === 'recovery') {
        const { id, codes } = await access.addRecovery(userid, password, actorOf(call));
        return { id, recovery: [...codes] };
      }
      if (totp === undefined || value === undefined) {
        const missing = [...(totp === undefined ? ['totp'] : []), ...(value === undefined ? ['value'] : [])];
        throw new ParameterError(missing.map((name) => [name, 'parameter is missing and it is not optional.']));
      }
      const entry = { secret: totp, code: value, description: description ?? '', password };
      const { id } = await access.addTotp(userid, entry, actorOf(call));
      return { id };
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${FACTORS}/{id}`,
    description: 'Removes a second factor.',
    access: mayChange,
    parameters: Type.Object({ userid: UserIdText, id: EntryId, password: OwnPassword }),
    returns: Nothing,
    handler: async (call, { userid: text, id, password }) => {
      const userid = userFor(call, text);
      findFactor(call, userid, id);
      await call.services.access.deleteTfa(userid, id, password, actorOf(call));
      return null;
    },
  }),
  defineMethod({
    method: 'PUT',
    path: '/access/users/{userid}/unlock-tfa',
    description: 'Lets a user try again whose second factor is locked. True when it was.',
    access: () => ({ path: '/access/users', anyOf: ['Permissions.Modify'] }),
    parameters: Type.Object({ userid: UserIdText }),
    returns: Type.Boolean(),
    handler: async (call, { userid }) => await call.services.access.unlockTfa(userFor(call, userid), actorOf(call)),
  }),
];
