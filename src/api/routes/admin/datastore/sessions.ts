// /admin/datastore/{store}/sessions: the control side of the object protocol (docs/protocol.md, section 1).

import { Type } from 'typebox';
import { ClientPart } from '../../../../schema/manifest.ts';
import { parseGroup } from '../../../../schema/names.ts';
import type { Caller } from '../../../../transport/server/sessions.ts';
import { denied } from '../../../check-access.ts';
import { ApiError, ParameterError } from '../../../dialect/failure.ts';
import { type Call, callerOf, defineMethod, type PrivilegeRule } from '../../../method.ts';

import { aclPath, changing, findNamespace, findSnapshot, openStore, owns } from '../../../snapshots/owned-groups.ts';
import { BackupTime, Nothing, OfGroup, StoreName } from '../../parameters.ts';

const PATH = '/admin/datastore/{store}/sessions';
const MAX_READ_AT_ONCE = 16;
/** A manifest of 1,024 archives, each with the warnings that it may have, and room. */
const MAX_COMMIT_BYTES = 16 * 1024 * 1024;
const SessionId = Type.String({ pattern: '^[0-9a-f]{32}$', description: 'A session.' });
const Fingerprint = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Of the encryption key.' });
const Answer = Type.Record(Type.String(), Type.Unknown());
const MAY_OPEN = ['Datastore.Backup', 'Datastore.Read'] as const;
const OfSession = { store: StoreName, session: SessionId };

/** Each call looks at who opened the session: a right to the datastore says nothing of it. */
function sessionCaller(call: Call): Caller {
  return { authId: callerOf(call), ownGroupsOnly: call.onlyOwn };
}

export const SESSION_METHODS = [
  defineMethod({
    method: 'POST',
    path: PATH,
    description: 'Opens a session: `backup` to make a snapshot of a group, `read` to read snapshots.',
    access: ({ kind, ...where }): PrivilegeRule =>
      kind === 'backup'
        ? { path: aclPath(where), anyOf: ['Datastore.Backup'] }
        : { path: aclPath(where), anyOf: ['Datastore.Read'], orOwner: 'Datastore.Backup' },
    parameters: Type.Object({
      ...OfGroup,
      kind: Type.Enum(['backup', 'read']),
      fingerprint: Type.Optional(Fingerprint),
      'backup-times': Type.Optional(Type.Array(BackupTime, { minItems: 1, maxItems: MAX_READ_AT_ONCE })),
    }),
    returns: Answer,
    handler: async (call, { store, ...body }) => {
      const where = { ...body, store };
      const { 'backup-times': times, kind } = body;
      const found = await findNamespace(call, where);
      const isRead = kind === 'read';
      if (isRead && times === undefined)
        throw new ParameterError([['backup-times', 'parameter is missing and it is not optional.']]);
      if (!isRead && times !== undefined)
        throw new ParameterError([['backup-times', 'is of no use for a backup; leave it away.']]);
      // Each by its own rule: what somebody else owns is not there.
      for (const time of times ?? []) await findSnapshot(call, { ...where, 'backup-time': time });
      const group = parseGroup(`${body['backup-type']}/${body['backup-id']}`);
      const owner = (await found.view.group(found.ns, group))?.owner;
      if (!isRead && owner !== undefined && !owns(callerOf(call), owner))
        throw new ApiError(400, 'not-owner', `backup owner check failed (${callerOf(call)} does not own ${group})`);
      return { ...(await changing(store, () => call.services.sessions.open(store, sessionCaller(call), body))) };
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{session}`,
    description: 'A session of the caller: what it stored so far.',
    access: { auth: true },
    parameters: Type.Object(OfSession),
    returns: Answer,
    handler: async (call, { store, session }) => {
      await requireOwnStore(call, store);
      return { ...(await call.services.sessions.describe(store, sessionCaller(call), session)) };
    },
  }),
  defineMethod({
    method: 'POST',
    path: `${PATH}/{session}/commit`,
    description: 'Makes the snapshot of a session of the caller. Repeated after success it answers the same snapshot.',
    access: { auth: true },
    parameters: Type.Object({
      ...OfSession,
      client: ClientPart,
      time: Type.Optional(BackupTime),
    }),
    maxBodyBytes: MAX_COMMIT_BYTES,
    returns: Answer,
    handler: async (call, { store, session, ...body }) => {
      await requireOwnStore(call, store);
      const { sessions } = call.services;
      return { ...(await changing(store, () => sessions.commit(store, sessionCaller(call), session, body))) };
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${PATH}/{session}`,
    description: 'Ends a session of the caller without a snapshot. What was stored stays for a retry.',
    access: { auth: true },
    parameters: Type.Object(OfSession),
    returns: Nothing,
    handler: async (call, { store, session }) => {
      await requireOwnStore(call, store);
      await call.services.sessions.end(store, sessionCaller(call), session);
      return null;
    },
  }),
];

/** A session is of somebody who could open it: to all others the datastore answers as if they asked for its content. */
async function requireOwnStore(call: Call, store: string): Promise<void> {
  const { permissions } = call.services;
  const caller = callerOf(call);
  const path = aclPath({ store });
  if (!MAY_OPEN.some((privilege) => permissions.hasBelow(caller, path, privilege)))
    throw denied(caller, { path, anyOf: MAY_OPEN });
  await openStore(call, store);
}
