// GET /access/permissions: what the caller, or somebody it may look at, is allowed where.
import { Type } from 'typebox';
import { BACKUP_PRIVILEGES, type Privilege } from '../../../auth/privileges.ts';
import { parseAuthId } from '../../../schema/auth-id.ts';
import { defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { AclPath, AuthIdText } from '../parameters.ts';

export const PERMISSION_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/access/permissions',
    description:
      'Privileges by path; each is true when it also holds below. Of others than oneself and own tokens with Sys.Audit on /access.',
    access: { auth: true },
    parameters: Type.Object({ 'auth-id': Type.Optional(AuthIdText), path: Type.Optional(AclPath) }),
    returns: Type.Record(Type.String(), Type.Record(Type.String(), Type.Boolean())),
    handler: (call, { 'auth-id': text, path }) => {
      const authId = text === undefined ? undefined : parseAuthId(text);
      const found = call.services.access.permissionsOf(actorOf(call), authId, path);
      return Object.fromEntries([...found].map(([each, rights]) => [each, Object.fromEntries(ofBackups(rights))]));
    },
  }),
];

/** Clients of this dialect know no others. */
function ofBackups(rights: ReadonlyMap<Privilege, boolean>): (readonly [Privilege, boolean])[] {
  return BACKUP_PRIVILEGES.flatMap((each) => (rights.has(each) ? [[each, rights.get(each) === true] as const] : []));
}
