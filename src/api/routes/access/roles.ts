// GET /access/roles: the fixed roles and what each allows.
import { Type } from 'typebox';
import { ROLES } from '../../../auth/privileges.ts';
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
      Object.entries(ROLES).map(([roleid, privs]) => ({ roleid, privs: [...privs], comment: wordsOf(roleid) })),
  }),
];

/** `DatastoreAdmin` -> `Datastore Admin`. */
function wordsOf(role: string): string {
  return role.replace(/(?<=[a-z])(?=[A-Z])/g, ' ');
}
