// /nodes and /nodes/{node}: this machine, and in the list the hosts with an agent.
import { Type } from 'typebox';
import { ApiError } from '../../dialect/failure.ts';
import { type Call, defineMethod } from '../../method.ts';
import { nodeStatus } from '../../node-status/node-status.ts';
import { NodeStatus } from '../../node-status/node-status-schema.ts';
import { NodeName } from '../parameters.ts';

const OfNode = { node: NodeName };

/** @throws ApiError 400 for another machine. */
export function requireThisNode({ services }: Call, node: string): void {
  if (node !== 'localhost' && node !== services.node.name)
    throw new ApiError(400, 'not-found', `no such node '${node.slice(0, 64)}'`);
}

export const NODE_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/nodes',
    description: 'The machines of this server: itself, and the hosts with an agent.',
    access: { onPath: () => ({ path: '/', anyOf: [], orUser: 'root@pam' }) },
    parameters: Type.Object({}),
    returns: Type.Array(
      Type.Object({
        node: Type.String(),
        status: Type.Enum(['online', 'offline', 'unknown']),
        version: Type.Optional(Type.String()),
        'last-contact': Type.Optional(Type.Integer()),
        address: Type.Optional(Type.String()),
      }),
    ),
    handler: ({ services }) => [
      { node: services.node.name, status: 'online' as const, version: services.version.version },
      // An agent in this process is no other machine.
      ...services.nodes
        .list()
        .filter(({ name }) => name !== 'localhost')
        .map(({ name, status, version, lastContactMs, address }) => ({
          node: name,
          status,
          ...(version === '' ? {} : { version }),
          ...(lastContactMs === undefined ? {} : { 'last-contact': Math.floor(lastContactMs / 1000) }),
          ...(address === '' ? {} : { address }),
        })),
    ],
  }),
  defineMethod({
    method: 'GET',
    path: '/nodes/{node}/status',
    description: 'Processor, memory, disk and load of this machine.',
    access: { onPath: () => ({ path: '/system/status', anyOf: ['Sys.Audit'] }) },
    parameters: Type.Object(OfNode),
    returns: NodeStatus,
    handler: async (call, { node }) => {
      requireThisNode(call, node);
      return await nodeStatus(call.services.node.fingerprint(), call.signal);
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/nodes/{node}/subscription',
    description: 'There is none and none is needed; clients ask for it.',
    access: { auth: true },
    parameters: Type.Object(OfNode),
    returns: Type.Object({
      status: Type.Enum(['notfound']),
      message: Type.String(),
      serverid: Type.String(),
    }),
    handler: (call, { node }) => {
      requireThisNode(call, node);
      const message = 'There is no subscription key, and none is needed';
      return { status: 'notfound' as const, message, serverid: call.services.node.instanceId };
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/nodes/{node}/time',
    description: 'The clock of this machine and its time zone.',
    access: { auth: true },
    parameters: Type.Object(OfNode),
    returns: Type.Object({ time: Type.Integer(), localtime: Type.Integer(), timezone: Type.String() }),
    handler: (call, { node }) => {
      requireThisNode(call, node);
      const nowMs = call.services.clock();
      const time = Math.floor(nowMs / 1000);
      const localtime = time - new Date(nowMs).getTimezoneOffset() * 60;
      return { time, localtime, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone };
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/nodes/{node}/identity',
    description: 'What tells this installation from others.',
    access: { auth: true },
    parameters: Type.Object(OfNode),
    returns: Type.Object({ 'pbs-instance-id': Type.String() }),
    handler: (call, { node }) => {
      requireThisNode(call, node);
      return { 'pbs-instance-id': call.services.node.instanceId };
    },
  }),
];
