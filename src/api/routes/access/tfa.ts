// /access/tfa: second factors of users. None of it is changed through a token: a stolen one must not take the second factor away.

import { Type } from 'typebox';
import type { FactorEntry } from '../../../auth/second-factor-store.ts';
import { parseUserId } from '../../../schema/auth-id.ts';
import { ApiError, ParameterError } from '../../dialect/failure.ts';
import { defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { Comment, Nothing, UserIdText } from '../parameters.ts';
import { mayChange, mayLook, mayManage } from './user-rules.ts';

const FACTORS = '/access/tfa/{userid}';
const EntryId = Type.String({
  pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*$',
  maxLength: 64,
  description: 'A second factor.',
});
const OwnPassword = Type.Optional(
  Type.String({ maxLength: 1024, description: 'The password of whoever asks; only root@pam may leave it away.' }),
);
const FactorRow = Type.Object({
  id: Type.String(),
  type: Type.Enum(['totp', 'recovery']),
  description: Type.String(),
  created: Type.Integer(),
  enable: Type.Boolean(),
});
/** A user has one set of them, under this name. */
const RECOVERY = 'recovery';

function rowOf({ id, type, description, created, enable }: FactorEntry) {
  return { id, type, description, created, enable };
}

export const TFA_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/access/tfa',
    description: 'The second factors of all users; without Sys.Audit on /access/users those of the caller.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(
      Type.Object({
        userid: Type.String(),
        entries: Type.Array(FactorRow),
        'totp-locked': Type.Optional(Type.Boolean()),
        'tfa-locked-until': Type.Optional(Type.Integer()),
      }),
    ),
    handler: (call) =>
      call.services.access.listTfa(actorOf(call)).map(({ userid, entries, totpLocked, tfaLockedUntil }) => ({
        userid,
        entries: entries.map(rowOf),
        ...(totpLocked ? { 'totp-locked': true } : {}),
        ...(tfaLockedUntil === 0 ? {} : { 'tfa-locked-until': tfaLockedUntil }),
      })),
  }),
  defineMethod({
    method: 'GET',
    path: FACTORS,
    description: 'The second factors of a user.',
    access: mayLook,
    parameters: Type.Object({ userid: UserIdText }),
    returns: Type.Array(FactorRow),
    handler: (call, { userid }) => call.services.access.tfaOf(actorOf(call), parseUserId(userid)).entries.map(rowOf),
  }),
  defineMethod({
    method: 'GET',
    path: `${FACTORS}/{id}`,
    description: 'One second factor.',
    access: mayLook,
    parameters: Type.Object({ userid: UserIdText, id: EntryId }),
    returns: FactorRow,
    handler: (call, { userid, id }) => {
      const { entries } = call.services.access.tfaOf(actorOf(call), parseUserId(userid));
      const found = entries.find((entry) => entry.id === id);
      if (found === undefined) throw new ApiError(400, 'not-found', `no such tfa entry '${userid}/${id}'`);
      return rowOf(found);
    },
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
      totp: Type.Optional(Type.String({ maxLength: 1024, description: 'otpauth:// URI with the key.' })),
      value: Type.Optional(Type.String({ maxLength: 64, description: 'The code that the authenticator shows.' })),
      password: OwnPassword,
    }),
    returns: Type.Object({ id: Type.String(), recovery: Type.Optional(Type.Array(Type.String())) }),
    handler: async (call, { userid: text, type, description, totp, value, password }) => {
      const userid = parseUserId(text);
      const { access } = call.services;
      if (type === 'recovery')
        return { id: RECOVERY, recovery: [...(await access.addRecovery(actorOf(call), userid, password))] };
      if (totp === undefined || value === undefined) {
        const missing = [...(totp === undefined ? ['totp'] : []), ...(value === undefined ? ['value'] : [])];
        throw new ParameterError(missing.map((name) => [name, 'parameter is missing and it is not optional.']));
      }
      const confirmation = password === undefined ? {} : { confirmation: password };
      const entry = { uri: totp, code: value, description: description ?? '', ...confirmation };
      return { id: await access.addTotp(actorOf(call), userid, entry) };
    },
  }),
  defineMethod({
    method: 'PUT',
    path: `${FACTORS}/{id}`,
    description: 'Names a second factor, or turns it on or off.',
    access: mayChange,
    parameters: Type.Object({
      userid: UserIdText,
      id: EntryId,
      description: Type.Optional(Comment),
      enable: Type.Optional(Type.Boolean()),
      password: OwnPassword,
    }),
    returns: Nothing,
    handler: async (call, { userid, id, password, ...changes }) => {
      const confirmation = password === undefined ? {} : { confirmation: password };
      const user = parseUserId(userid);
      await call.services.access.updateTfa(actorOf(call), user, id, { ...changes, ...confirmation });
      return null;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${FACTORS}/{id}`,
    description: 'Removes a second factor.',
    access: mayChange,
    parameters: Type.Object({ userid: UserIdText, id: EntryId, password: OwnPassword }),
    returns: Nothing,
    handler: async (call, { userid, id, password }) => {
      await call.services.access.deleteTfa(actorOf(call), parseUserId(userid), id, password);
      return null;
    },
  }),
  defineMethod({
    method: 'PUT',
    path: '/access/users/{userid}/unlock-tfa',
    description: 'Lets a user try again whose second factor is locked. True when it was.',
    access: mayManage,
    parameters: Type.Object({ userid: UserIdText }),
    returns: Type.Boolean(),
    handler: (call, { userid }) => call.services.access.unlockTfa(actorOf(call), parseUserId(userid)),
  }),
];
