// /config/node: hosts whose agents take orders, and how one gets in. Ours alone; Proxmox Backup Server has no agents.
import { type Static, Type } from 'typebox';
import type { NodeDetails } from '../../../nodes/nodes.ts';
import { parseUserId } from '../../../schema/auth-id.ts';
import { callerOf, defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { AgentNodeName, onNode } from '../nodes/node-parameters.ts';
import { Nothing, UserIdText } from '../parameters.ts';

const PATH = '/config/node';
const MAX_LIFETIME_SECONDS = 30 * 24 * 3600;
const Row = Type.Object({
  name: Type.String(),
  status: Type.Enum(['online', 'offline', 'unknown']),
  'auth-id': Type.Optional(Type.String()),
  version: Type.Optional(Type.String()),
  'host-name': Type.Optional(Type.String()),
  'machine-id': Type.Optional(Type.String()),
  address: Type.Optional(Type.String()),
  enrolled: Type.Optional(Type.Integer()),
  'last-contact': Type.Optional(Type.Integer()),
  'enrolment-expires': Type.Optional(Type.Integer()),
  orders: Type.Integer(),
});

export const NODE_CONFIG_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description: 'The hosts with an agent that the caller may look at, with what was last heard of each.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(Row),
    handler: (call) => {
      const { nodes, permissions } = call.services;
      const caller = callerOf(call);
      return nodes
        .list()
        .filter(({ name }) => permissions.has(caller, `/system/nodes/${name}`, 'Sys.Audit'))
        .map(rowOf);
    },
  }),
  defineMethod({
    method: 'POST',
    path: PATH,
    description: 'Makes an enrolment: a secret that is shown once, with which the agent of a host gets its token.',
    access: ({ name }) => onNode('Sys.Modify', name),
    parameters: Type.Object({
      name: AgentNodeName,
      user: Type.Optional(UserIdText),
      lifetime: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: MAX_LIFETIME_SECONDS,
          description: 'Seconds in which the secret can be used; an hour without it.',
        }),
      ),
      renew: Type.Boolean({ default: false, description: 'The node is enrolled already; its token keeps its rights.' }),
    }),
    returns: Type.Object({
      name: Type.String(),
      'auth-id': Type.String(),
      secret: Type.String(),
      expire: Type.Integer(),
      fingerprint: Type.String(),
    }),
    handler: (call, { name, user, lifetime, renew }) => {
      const made = call.services.nodes.enrolments.add(actorOf(call), {
        node: name,
        user: user === undefined ? undefined : parseUserId(user),
        lifetimeMs: lifetime === undefined ? undefined : lifetime * 1000,
        renew,
      });
      return {
        name,
        'auth-id': made.tokenid,
        secret: made.secret,
        expire: Math.floor(made.expireMs / 1000),
        fingerprint: call.services.node.fingerprint(),
      };
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{name}`,
    description: 'One host with an agent.',
    access: { onPath: ({ name }) => onNode('Sys.Audit', name) },
    parameters: Type.Object({ name: AgentNodeName }),
    returns: Row,
    handler: (call, { name }) => rowOf(call.services.nodes.get(name)),
  }),
  defineMethod({
    method: 'DELETE',
    path: `${PATH}/{name}`,
    description: 'Removes a host and the token of its agent, whose connection ends.',
    access: { onPath: ({ name }) => onNode('Sys.Modify', name) },
    parameters: Type.Object({ name: AgentNodeName }),
    returns: Nothing,
    handler: (call, { name }) => {
      call.services.nodes.remove(actorOf(call), name);
      return null;
    },
  }),
];

function rowOf(node: NodeDetails): Static<typeof Row> {
  const { name, status, authId, orders } = node;
  const texts = {
    version: node.version,
    'host-name': node.hostName,
    'machine-id': node.machineId,
    address: node.address,
  };
  const times = {
    enrolled: node.enrolledMs,
    'last-contact': node.lastContactMs,
    'enrolment-expires': node.enrolmentExpiresMs,
  };
  return {
    name,
    status,
    orders,
    ...(authId === undefined ? {} : { 'auth-id': authId }),
    ...Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== '')),
    ...Object.fromEntries(
      Object.entries(times).flatMap(([each, ms]) => (ms === undefined ? [] : [[each, Math.floor(ms / 1000)]])),
    ),
  };
}
