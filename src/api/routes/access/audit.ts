// GET /access/audit: who changed what, and which sign-ins failed. Ours alone; Proxmox Backup Server writes such lines to files of its machine.
import { Type } from 'typebox';
import { AUDIT_ACTIONS, AUDIT_PAGE, type AuditEntry } from '../../../auth/audit-log.ts';
import { defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';

/** Of a token, USER@REALM!NAME. */
const MAX_BY = 129;
const Row = Type.Object({
  id: Type.Integer(),
  /** Unix seconds. */
  time: Type.Integer(),
  action: Type.String(),
  by: Type.String(),
  address: Type.String(),
  object: Type.String(),
  detail: Type.Record(Type.String(), Type.Unknown()),
});

export const AUDIT_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/access/audit',
    description:
      'The audit log, newest entries first: changes of users, tokens, rights, second factors, datastores and nodes, and sign-ins.',
    access: { onPath: () => ({ path: '/access', anyOf: ['Sys.Audit'] }) },
    parameters: Type.Object({
      limit: Type.Integer({ minimum: 1, maximum: AUDIT_PAGE.most, default: AUDIT_PAGE.usual }),
      before: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: Number.MAX_SAFE_INTEGER,
          description: 'Only entries older than the one with this id: the last id of a page gives the next page.',
        }),
      ),
      action: Type.Optional(Type.Enum([...AUDIT_ACTIONS], { description: 'What was done.' })),
      by: Type.Optional(
        Type.String({ maxLength: MAX_BY, description: 'Who did it, or as whom somebody tried to sign in.' }),
      ),
    }),
    returns: Type.Array(Row),
    handler: async (call, query) => (await call.services.access.auditLog(actorOf(call), query)).map(rowOf),
  }),
];

function rowOf({ id, timeMs, action, by, address, object, detail = {} }: AuditEntry) {
  const named = Object.entries(detail).map(([name, value]) => [name.replace(/[A-Z]/g, '-$&').toLowerCase(), value]);
  return { id, time: Math.floor(timeMs / 1000), action, by, address, object, detail: Object.fromEntries(named) };
}
