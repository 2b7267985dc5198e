// GET and PUT /access/acl: which role stands on which path for whom.
import { Type } from 'typebox';
import { ROLES, type RoleName } from '../../../auth/privileges.ts';
import { parseAuthId, tokenNameOf, userOf } from '../../../schema/auth-id.ts';
import { denied } from '../../check-access.ts';
import { ParameterError } from '../../dialect/failure.ts';
import { digestOf, requireUnchanged } from '../../digest.ts';
import { callerOf, defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { AuthIdText, Digest, Nothing } from '../parameters.ts';

const Path = Type.String({
  pattern: '^/[A-Za-z0-9._/-]*$',
  maxLength: 320,
  description: 'For example /datastore/store1.',
});
const Role = Type.Enum(Object.keys(ROLES) as RoleName[]);

export const ACL_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/access/acl',
    description:
      'The access control list; without Sys.Audit on /access/acl only what concerns the caller and its tokens.',
    access: { auth: true },
    parameters: Type.Object({
      path: Type.Optional(Path),
      exact: Type.Boolean({ default: false, description: 'Only that path, not what is below.' }),
    }),
    returns: Type.Array(
      Type.Object({
        path: Type.String(),
        propagate: Type.Boolean(),
        roleid: Type.String(),
        ugid: Type.String(),
        ugid_type: Type.Enum(['user']),
      }),
    ),
    handler: (call, { path, exact }) => {
      const { access, permissions } = call.services;
      const caller = callerOf(call);
      const seesAll = permissions.has(caller, '/access/acl', 'Sys.Audit');
      const rows = access.listAcl();
      call.attach('digest', digestOf(rows));
      const isBelow = (each: string): boolean =>
        path === undefined || each === path || (!exact && each.startsWith(path === '/' ? '/' : `${path}/`));
      return rows
        .filter((row) => isBelow(row.path) && (seesAll || row.authId === caller || userOf(row.authId) === caller))
        .map(({ path: at, propagate, role, authId }) => ({
          path: at,
          propagate,
          roleid: role,
          ugid: authId,
          ugid_type: 'user' as const,
        }));
    },
  }),
  defineMethod({
    method: 'PUT',
    path: '/access/acl',
    description:
      'Gives somebody a role on a path, or takes it away. Users may do so for their own tokens without a privilege.',
    access: { auth: true },
    parameters: Type.Object({
      path: Path,
      role: Role,
      'auth-id': Type.Optional(AuthIdText),
      propagate: Type.Boolean({ default: true, description: 'It holds below the path too.' }),
      delete: Type.Boolean({ default: false, description: 'Takes it away.' }),
      digest: Type.Optional(Digest),
    }),
    returns: Nothing,
    handler: async (call, { path, role, 'auth-id': text, propagate, delete: remove, digest }) => {
      const { access, permissions } = call.services;
      const caller = callerOf(call);
      if (text === undefined) throw new ParameterError([['auth-id', 'parameter is missing and it is not optional.']]);
      const authId = parseAuthId(text);
      const isOwnToken = tokenNameOf(authId) !== undefined && userOf(authId) === caller;
      if (!isOwnToken && !permissions.has(caller, path, 'Permissions.Modify'))
        throw denied(caller, { path, anyOf: ['Permissions.Modify'] });
      requireUnchanged(digest, access.listAcl());
      await access.changeAcl({ path, role, authId, propagate, remove }, actorOf(call));
      return null;
    },
  }),
];
