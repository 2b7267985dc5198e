// GET and PUT /access/acl: which role stands on which path for whom.
import { Type } from 'typebox';
import { ROLES, type RoleName } from '../../../auth/privileges.ts';
import { parseAuthId } from '../../../schema/auth-id.ts';
import { ParameterError } from '../../dialect/failure.ts';
import { defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { AclPath, AuthIdText, Digest, Nothing } from '../parameters.ts';

const Role = Type.Enum(Object.keys(ROLES) as RoleName[], { description: 'A role of /access/roles.' });

export const ACL_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/access/acl',
    description:
      'The access control list; without Sys.Audit on /access/acl only what concerns the caller and its tokens.',
    access: { auth: true },
    parameters: Type.Object({
      path: Type.Optional(AclPath),
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
    handler: (call, query) => {
      const { entries, digest } = call.services.access.listAcl(actorOf(call), query);
      call.attach('digest', digest);
      return entries.map(({ path, propagate, role, authId }) => ({
        path,
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
      'Gives somebody a role on a path, or takes it away, with Permissions.Modify on the path. Users may do so for their own tokens.',
    access: { auth: true },
    parameters: Type.Object({
      path: AclPath,
      role: Role,
      'auth-id': Type.Optional(AuthIdText),
      propagate: Type.Boolean({ default: true, description: 'It holds below the path too.' }),
      delete: Type.Boolean({ default: false, description: 'Takes it away.' }),
      digest: Type.Optional(Digest),
    }),
    returns: Nothing,
    handler: (call, { 'auth-id': text, ...change }) => {
      if (text === undefined) throw new ParameterError([['auth-id', 'parameter is missing and it is not optional.']]);
      call.services.access.changeAcl(actorOf(call), { ...change, authId: parseAuthId(text) });
      return null;
    },
  }),
];
