// GET and PUT /access/acl: which role stands on which path for whom, on the paths of both dialects.
import { Type } from 'typebox';
import { parseAuthId, tokenNameOf } from '../../../../schema/auth-id.ts';
import { ApiError } from '../../../dialect/failure.ts';
import { actorOf } from '../../../routes/actor.ts';
import { AclPath } from '../../../routes/parameters.ts';
import { defineGuestMethod } from '../../method.ts';
import { Flag, flag, listOf, Nothing } from '../parameters.ts';
import { requireNoGroups } from './groups.ts';

const Names = Type.String({ maxLength: 8192, description: 'Between commas.' });

export const ACL_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: '/access/acl',
    description:
      'The access control list; without Sys.Audit on /access/acl only what concerns the caller and its tokens.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(
      Type.Object({
        path: Type.String(),
        roleid: Type.String(),
        type: Type.Enum(['user', 'token']),
        ugid: Type.String(),
        propagate: Flag,
      }),
    ),
    handler: (call) => {
      const { entries } = call.services.access.listAcl(actorOf(call));
      return entries.map(({ path, role, authId, propagate }) => ({
        path,
        roleid: role,
        type: tokenNameOf(authId) === undefined ? ('user' as const) : ('token' as const),
        ugid: authId,
        propagate: flag(propagate),
      }));
    },
  }),
  defineGuestMethod({
    method: 'PUT',
    path: '/access/acl',
    description: 'Gives roles on a path, or takes them away, with Permissions.Modify on it.',
    access: { auth: true },
    parameters: Type.Object({
      path: AclPath,
      roles: Names,
      users: Type.Optional(Names),
      tokens: Type.Optional(Names),
      groups: Type.Optional(Names),
      propagate: Type.Boolean({ default: true, description: 'They hold below the path too.' }),
      delete: Type.Boolean({ default: false, description: 'Takes them away.' }),
    }),
    returns: Nothing,
    handler: (call, { path, roles, users, tokens, groups, propagate, delete: isDelete }) => {
      requireNoGroups(groups);
      const authIds = [...listOf(users), ...listOf(tokens)].map(parseAuthId);
      if (authIds.length === 0) throw new ApiError(400, 'bad-argument', 'name a user or a token: `users` or `tokens`');
      for (const authId of authIds)
        for (const role of listOf(roles))
          call.services.access.changeAcl(actorOf(call), { path, role, authId, propagate, delete: isDelete });
      return null;
    },
  }),
];
