// What Proxmox VE has and a single node of Holdfast has not (yet): lists that are empty, so that clients which ask go on.
import { type TSchema, Type } from 'typebox';
import { ApiError } from '../../dialect/failure.ts';
import { defineGuestMethod, onRoot, requireNode } from '../method.ts';
import { Node } from './parameters.ts';

const ANYBODY = { auth: true } as const;
const AUDITORS = onRoot('Sys.Audit');

function emptyList(path: string, description: string, access: typeof ANYBODY | typeof AUDITORS, row: TSchema) {
  return defineGuestMethod({
    method: 'GET',
    path,
    description,
    access,
    parameters: Type.Object({}),
    returns: Type.Array(row),
    handler: () => [],
  });
}

function emptyListOfNode(path: string, description: string, row: TSchema) {
  return defineGuestMethod({
    method: 'GET',
    path: `/nodes/{node}/${path}`,
    description,
    access: ANYBODY,
    parameters: Type.Object({ node: Node }),
    returns: Type.Array(row),
    handler: (call, { node }) => {
      requireNode(call, node);
      return [];
    },
  });
}

const WithId = Type.Object({ id: Type.String() });

export const NOTHING_HERE_METHODS = [
  emptyListOfNode('lxc', 'The containers of this node: none yet.', Type.Object({ vmid: Type.Integer() })),
  emptyListOfNode('replication', 'Replication jobs of this node: none.', WithId),
  emptyListOfNode('apt/update', 'Packages that could be updated: not looked at.', Type.Object({})),
  emptyList('/cluster/replication', 'Replication jobs: none.', ANYBODY, WithId),
  emptyList(
    '/cluster/ha/resources',
    'What is kept highly available: nothing.',
    AUDITORS,
    Type.Object({ sid: Type.String() }),
  ),
  emptyList('/cluster/ha/status/current', 'The state of high availability: there is none.', AUDITORS, WithId),
  defineGuestMethod({
    method: 'GET',
    path: '/cluster/ha/resources/{sid}',
    description: 'One resource that is kept highly available: there is none.',
    access: AUDITORS,
    parameters: Type.Object({ sid: Type.String({ maxLength: 64, description: 'vm:100.' }) }),
    returns: Type.Object({ sid: Type.String() }),
    handler: (_call, { sid }) => {
      throw new ApiError(500, 'not-found', `no such resource '${sid}'`);
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/cluster/config/qdevice',
    description: 'A vote from outside of the cluster: there is no cluster.',
    access: AUDITORS,
    parameters: Type.Object({}),
    returns: Type.Object({}),
    handler: () => ({}),
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/cluster/options',
    description: 'Options of a cluster: none are set.',
    access: ANYBODY,
    parameters: Type.Object({}),
    returns: Type.Object({}),
    handler: () => ({}),
  }),
];
