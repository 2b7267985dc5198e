// GET /version, of the whole and of the node.
import { Type } from 'typebox';
import { defineGuestMethod, type GuestCall, requireNode } from '../method.ts';
import { Node } from './parameters.ts';

const Version = Type.Object({ version: Type.String(), release: Type.String(), repoid: Type.String() });

export const VERSION_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: '/version',
    description: 'The version of Proxmox VE whose calls are understood.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Version,
    handler: versionOf,
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/nodes/{node}/version',
    description: 'The same, of this node.',
    access: { auth: true },
    parameters: Type.Object({ node: Node }),
    returns: Version,
    handler: (call, { node }) => {
      requireNode(call, node);
      return versionOf(call);
    },
  }),
];

function versionOf({ services }: Pick<GuestCall, 'services'>) {
  const { version, release, repoid } = services.version;
  return { version, release, repoid };
}
