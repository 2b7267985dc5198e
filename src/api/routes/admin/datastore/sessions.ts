// /admin/datastore/{store}/sessions: the control side of the object protocol (docs/protocol.md, section 1).
import { Type } from 'typebox';
import { ClientPart } from '../../../../schema/manifest.ts';
import { parseGroup, parseNamespace } from '../../../../schema/names.ts';
import { ApiError, ParameterError } from '../../../dialect/failure.ts';
import { type Call, callerOf, defineMethod, type PrivilegeRule } from '../../../method.ts';
import type { Identity } from '../../../services.ts';
import { aclPath, changing, findNamespace, findSnapshot, openStore, owns } from '../../../snapshots/owned-groups.ts';
import { BackupTime, Nothing, OfGroup, StoreName } from '../../parameters.ts';

const PATH = '/admin/datastore/{store}/sessions';
const MAX_READ_AT_ONCE = 16;
/** A manifest of 1,024 archives, each with the warnings that it may have, and room. */
const MAX_COMMIT_BYTES = 16 * 1024 * 1024;
const SessionId = Type.String({ pattern: '^[0-9a-f]{32}$', description: 'A session.' });
const Fingerprint = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Of the encryption key.' });
const Answer = Type.Record(Type.String(), Type.Unknown());
const OfSession = { store: StoreName, session: SessionId };

/** Each call looks at who opened the session: a right to the datastore says nothing of it. */
function identityOf({ identity }: Call): Identity {
  if (identity === undefined) throw new Error('a session was asked for without an identity');
  return identity;
}

export const SESSION_METHODS = [
  defineMethod({
    method: 'POST',
    path: PATH,
    description: 'Opens a session: `backup` to make a snapshot of a group, `read` to read snapshots.',
    access: ({ kind, ...where }): PrivilegeRule =>
      kind === 'backup'
        ? { path: aclPath(where), anyOf: ['Datastore.Backup'], explains: true }
        : { path: aclPath(where), anyOf: ['Datastore.Read'], orOwner: 'Datastore.Backup', explains: true },
    parameters: Type.Object({
      ...OfGroup,
      kind: Type.Enum(['backup', 'read']),
      fingerprint: Type.Optional(Fingerprint),
      'backup-times': Type.Optional(Type.Array(BackupTime, { minItems: 1, maxItems: MAX_READ_AT_ONCE })),
    }),
    returns: Answer,
    handler: async (call, { kind, fingerprint, 'backup-times': times, ...where }) => {
      const identity = identityOf(call);
      const found = await findNamespace(call, where);
      const ns = parseNamespace(where.ns ?? '');
      const group = parseGroup(`${where['backup-type']}/${where['backup-id']}`);
      const isRead = kind === 'read';
      if (isRead && times === undefined)
        throw new ParameterError([['backup-times', 'parameter is missing and it is not optional.']]);
      if (!isRead && times !== undefined)
        throw new ParameterError([['backup-times', 'is of no use for a backup; leave it away.']]);
      // Each by its own rule: what somebody else owns is not there.
      for (const time of times ?? []) await findSnapshot(call, { ...where, 'backup-time': time });
      const owner = (await found.view.group(ns, group))?.owner;
      if (!isRead && owner !== undefined && !owns(callerOf(call), owner))
        throw new ApiError(400, 'not-owner', `backup owner check failed (${callerOf(call)} does not own ${group})`);
      const request = {
        kind,
        ns,
        group,
        owner: (owner ?? identity.authId) as typeof identity.authId,
        fingerprint,
        times: times ?? [],
      };
      const opened = await changing(where.store, () => call.services.sessions.open(found.open, identity, request));
      return { ...opened };
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{session}`,
    description: 'A session of the caller: what it stored so far.',
    access: { auth: true },
    parameters: Type.Object(OfSession),
    returns: Answer,
    handler: async (call, { store, session }) => ({
      ...(await call.services.sessions.describe(await openOwnStore(call, store), identityOf(call), session)),
    }),
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
    handler: async (call, { store, session, client, time }) => {
      const open = await openOwnStore(call, store);
      const request = { client, time };
      const { manifest, warnings } = await changing(store, () =>
        call.services.sessions.commit(open, identityOf(call), session, request, call.signal),
      );
      return { manifest, warnings: [...warnings] };
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
      await call.services.sessions.end(await openOwnStore(call, store), identityOf(call), session);
      return null;
    },
  }),
];

/** A session is of somebody who could open it: to all others the datastore answers as if they asked for its content. */
async function openOwnStore(call: Call, store: string) {
  const { permissions } = call.services;
  const caller = callerOf(call);
  const mayOpen = (['Datastore.Backup', 'Datastore.Read'] as const).some((privilege) =>
    permissions.hasBelow(caller, aclPath({ store }), privilege),
  );
  if (!mayOpen) throw new ApiError(403, 'permission-denied', 'permission check failed');
  return await openStore(call, store);
}
