// GET /access/domains: the realms that users can be of. Shown before anybody signs in.
import { Type } from 'typebox';
import { digestOf } from '../../digest.ts';
import { defineMethod } from '../../method.ts';

/** Each user is of one of them; the password of either is kept by this server. */
const REALMS = [
  { comment: 'users of this server', realm: 'pbs', type: 'pbs' },
  { comment: 'administrators of this machine', realm: 'pam', type: 'pam', default: true },
];

export const DOMAIN_METHODS = [
  defineMethod({
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
        default: Type.Optional(Type.Boolean()),
      }),
    ),
    handler: (call) => {
      call.attach('digest', digestOf(REALMS));
      return REALMS.map((realm) => ({ ...realm }));
    },
  }),
];
