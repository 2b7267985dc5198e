// /access/domains, /access/roles, /access/permissions and /access/groups: what there is to be given, and what is held.
import { Type } from 'typebox';
import { GUEST_PRIVILEGES, GUEST_ROLES, type Privilege } from '../../../../auth/privileges.ts';
import { parseAuthId } from '../../../../schema/auth-id.ts';
import { ApiError } from '../../../dialect/failure.ts';
import { actorOf } from '../../../routes/actor.ts';
import { AclPath, AuthIdText } from '../../../routes/parameters.ts';
import { defineGuestMethod } from '../../method.ts';
import { Flag } from '../parameters.ts';

export const ACCESS_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: '/access/domains',
    description: 'The realms of users.',
    access: { world: true },
    parameters: Type.Object({}),
    returns: Type.Array(
      Type.Object({
        realm: Type.String(),
        type: Type.String(),
        comment: Type.Optional(Type.String()),
        default: Type.Optional(Flag),
      }),
    ),
    handler: ({ services }) =>
      services.realms.map(({ realm, type, comment, default: isDefault }) => ({
        realm,
        type,
        comment,
        ...(isDefault ? { default: 1 } : {}),
      })),
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/access/roles',
    description: 'The roles and their privileges; they are fixed.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(Type.Object({ roleid: Type.String(), privs: Type.String(), special: Flag })),
    handler: () =>
      Object.entries(GUEST_ROLES).map(([roleid, privs]) => ({
        roleid,
        privs: [...privs].sort().join(','),
        special: 1,
      })),
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/access/roles/{roleid}',
    description: 'What a role allows.',
    access: { auth: true },
    parameters: Type.Object({ roleid: Type.String({ maxLength: 64, description: 'A role.' }) }),
    returns: Type.Record(Type.String(), Flag),
    handler: (_call, { roleid }) => {
      const found = Object.entries(GUEST_ROLES).find(([role]) => role === roleid);
      if (found === undefined) throw new ApiError(500, 'not-found', `role '${roleid}' does not exist`);
      return Object.fromEntries(found[1].map((privilege) => [privilege, 1]));
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/access/permissions',
    description:
      'Privileges by path; each is 1 when it also holds below. Of others than oneself and own tokens with Sys.Audit on /access.',
    access: { auth: true },
    parameters: Type.Object({ userid: Type.Optional(AuthIdText), path: Type.Optional(AclPath) }),
    returns: Type.Record(Type.String(), Type.Record(Type.String(), Flag)),
    handler: (call, { userid, path }) => {
      const of = userid === undefined ? undefined : parseAuthId(userid);
      const found = call.services.access.permissionsOf(actorOf(call), of, path);
      return Object.fromEntries([...found].map(([each, rights]) => [each, shownRights(rights)]));
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/access/groups',
    description: 'Groups of users: there are none here.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(Type.Object({ groupid: Type.String() })),
    handler: () => [],
  }),
];

/** 0 for what holds on the path alone, as Proxmox VE says it. */
function shownRights(rights: ReadonlyMap<Privilege, boolean>): Record<string, number> {
  const known: readonly Privilege[] = GUEST_PRIVILEGES;
  return Object.fromEntries(
    [...rights].filter(([each]) => known.includes(each)).map(([each, below]) => [each, below ? 1 : 0]),
  );
}
