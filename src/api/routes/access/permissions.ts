// GET /access/permissions: what the caller, or somebody it may look at, is allowed where.
import { Type } from 'typebox';
import { parseAuthId, userOf } from '../../../schema/auth-id.ts';
import { denied } from '../../check-access.ts';
import { callerOf, defineMethod } from '../../method.ts';
import { AuthIdText } from '../parameters.ts';

const AclPath = Type.String({
  pattern: '^/[A-Za-z0-9._/-]*$',
  maxLength: 320,
  description: 'A path of the access control list.',
});

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
      const caller = callerOf(call);
      const { permissions } = call.services;
      const authId = text === undefined ? caller : parseAuthId(text);
      const isOwn = authId === caller || userOf(authId) === caller;
      if (!isOwn && !permissions.has(caller, '/access', 'Sys.Audit'))
        throw denied(caller, { path: '/access', anyOf: ['Sys.Audit'] });
      const paths = path === undefined ? [...new Set([...TOP_PATHS, ...permissions.pathsOf(authId)])] : [path];
      const found: Record<string, Record<string, boolean>> = {};
      for (const each of paths) {
        const rights = permissions.of(authId, each);
        if (rights.size > 0) found[each] = Object.fromEntries(rights);
      }
      return found;
    },
  }),
];

/** Shown whether or not rights stand on them. */
const TOP_PATHS = ['/', '/access', '/datastore', '/remote', '/system'];
