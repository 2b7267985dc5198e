// GET /access/roles: the fixed roles of the backup dialect and what each allows.
import { Type } from 'typebox';
import { BACKUP_PRIVILEGES, BACKUP_ROLES, type Privilege } from '../../../auth/privileges.ts';
import { defineMethod } from '../../method.ts';

export const ROLE_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/access/roles',
    description: 'The roles and their privileges.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(
      Type.Object({ roleid: Type.String(), privs: Type.Array(Type.String()), comment: Type.Optional(Type.String()) }),
    ),
    handler: () =>
      Object.entries(BACKUP_ROLES).map(([roleid, privs]) => ({
        roleid,
        privs: BACKUP_PRIVILEGES.filter((each) => (privs as readonly Privilege[]).includes(each)),
        comment: wordsOf(roleid),
      })),
  }),
];

/** `DatastoreAdmin` -> `Datastore Admin`. */
function wordsOf(role: string): string {
  return role.replace(/(?<=[a-z])(?=[A-Z])/g, ' ');
}
