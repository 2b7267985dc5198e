// GET /version and GET /ping.
import { Type } from 'typebox';
import { defineMethod } from '../method.ts';

export const VERSION_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/version',
    description: 'The version of this server.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Object({ version: Type.String(), release: Type.String(), repoid: Type.String() }),
    handler: ({ services: { version } }) => ({
      version: version.version,
      release: version.release,
      repoid: version.repoid,
    }),
  }),
  defineMethod({
    method: 'GET',
    path: '/ping',
    description: 'Whether the server answers at all.',
    access: { world: true },
    parameters: Type.Object({}),
    returns: Type.Object({ pong: Type.Boolean() }),
    handler: () => ({ pong: true }),
  }),
];
