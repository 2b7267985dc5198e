// GET /access/domains: the realms that users can be of. Shown before anybody signs in.
import { Type } from 'typebox';
import { digestOf } from '../../../auth/config-digest.ts';
import { defineMethod } from '../../method.ts';

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
      const { realms } = call.services;
      call.attach('digest', digestOf(realms));
      return realms.map((realm) => ({ ...realm }));
    },
  }),
];
