// /nodes/{node}/…: what agents call, and orders to them.
import { Type } from 'typebox';
import type { Privilege } from '../../../auth/privileges.ts';
import { parseGroup, parseNamespace } from '../../../schema/names.ts';
import { PROTOCOL_VERSION } from '../../../transport/control/limits.ts';
import {
  BACKUP_FIELDS,
  RESTORE_FIELDS,
  VM_BACKUP_FIELDS,
  VM_RESTORE_FIELDS,
} from '../../../transport/control/orders.ts';
import { denied } from '../../check-access.ts';
import { type Call, callerOf, defineMethod } from '../../method.ts';
import { aclPath, openStore, owns } from '../../snapshots/owned-groups.ts';
import { AgentNodeName, onNode } from './node-parameters.ts';

const Line = (maxLength: number) => Type.String({ minLength: 1, maxLength, pattern: '^[^\\u0000-\\u001f\\u007f]*$' });

export const AGENT_METHODS = [
  defineMethod({
    method: 'POST',
    path: '/nodes/{node}/enrolment',
    description: 'Uses an enrolment up: answers the token of the agent, once.',
    access: { world: true },
    parameters: Type.Object({
      node: AgentNodeName,
      secret: Line(128),
      'machine-id': Line(128),
      'host-name': Line(255),
    }),
    returns: Type.Object({ 'auth-id': Type.String(), secret: Type.String() }),
    handler: (call, { node, secret, 'machine-id': machineId, 'host-name': hostName }) => {
      const redemption = { node, secret, machineId, hostName, address: call.address };
      const { tokenid, value } = call.services.nodes.enrolments.redeem(redemption);
      return { 'auth-id': tokenid, secret: value };
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/nodes/{node}/control',
    description:
      'The control connection of an agent, as a WebSocket; without an upgrade it answers whether the agent would be let in.',
    access: { auth: true },
    parameters: Type.Object({ node: AgentNodeName }),
    returns: Type.Object({ protocol: Type.Integer() }),
    handler: (call, { node }) => {
      call.services.nodes.requireAgent(node, callerOf(call));
      return { protocol: PROTOCOL_VERSION };
    },
    upgrade: ({ services }, { node }, caller, socket) => services.nodes.accept(node, caller, socket),
  }),
  defineMethod({
    method: 'POST',
    path: '/nodes/{node}/backup',
    description:
      'Has the agent of a host back up paths of it. Answers the task. Needs Datastore.Backup on the namespace, too.',
    access: { onPath: ({ node }) => onNode('Sys.Modify', node) },
    parameters: Type.Object({ node: AgentNodeName, ...BACKUP_FIELDS }),
    returns: Type.String(),
    handler: async (call, { node, ...order }) => {
      await requireStore(call, order, ['Datastore.Backup']);
      return call.services.nodes.order(node, { kind: 'backup', ...order }, callerOf(call)).upid;
    },
  }),
  defineMethod({
    method: 'POST',
    path: '/nodes/{node}/restore',
    description:
      'Has the agent of a host restore an archive there. Answers the task. Needs Datastore.Read on the namespace, too, or Datastore.Backup of the owner.',
    access: { onPath: ({ node }) => onNode('Sys.Modify', node) },
    parameters: Type.Object({ node: AgentNodeName, ...RESTORE_FIELDS }),
    returns: Type.String(),
    handler: async (call, { node, ...order }) => {
      await requireReadable(call, order);
      return call.services.nodes.order(node, { kind: 'restore', ...order }, callerOf(call)).upid;
    },
  }),
  defineMethod({
    method: 'POST',
    path: '/nodes/{node}/vm-backup',
    description:
      'Has the agent of a host back up a virtual machine there. Answers the task. Needs Datastore.Backup on the namespace, too.',
    access: { onPath: ({ node }) => onNode('Sys.Modify', node) },
    parameters: Type.Object({ node: AgentNodeName, ...VM_BACKUP_FIELDS }),
    returns: Type.String(),
    handler: async (call, { node, ...order }) => {
      await requireStore(call, order, ['Datastore.Backup']);
      return call.services.nodes.order(node, { kind: 'vm-backup', ...order }, callerOf(call)).upid;
    },
  }),
  defineMethod({
    method: 'POST',
    path: '/nodes/{node}/vm-restore',
    description:
      'Has the agent of a host make a virtual machine there out of a snapshot. Answers the task. Needs Datastore.Read on the namespace, too, or Datastore.Backup of the owner.',
    access: { onPath: ({ node }) => onNode('Sys.Modify', node) },
    parameters: Type.Object({ node: AgentNodeName, ...VM_RESTORE_FIELDS }),
    returns: Type.String(),
    handler: async (call, { node, ...order }) => {
      await requireReadable(call, order);
      return call.services.nodes.order(node, { kind: 'vm-restore', ...order }, callerOf(call)).upid;
    },
  }),
];

interface Place {
  readonly store: string;
  readonly ns?: string;
}

/** @throws ApiError 403, 400 without the datastore. */
async function requireStore(call: Call, place: Place, anyOf: readonly Privilege[]): Promise<void> {
  const [caller, path] = [callerOf(call), aclPath(place)];
  if (!anyOf.some((privilege) => call.services.permissions.has(caller, path, privilege)))
    throw denied(caller, { path, anyOf }, true);
  await openStore(call, place.store);
}

/** What a restore with the command line would need. */
async function requireReadable(call: Call, order: Place & { readonly snapshot: string }): Promise<void> {
  const [caller, path] = [callerOf(call), aclPath(order)];
  const { permissions } = call.services;
  if (permissions.has(caller, path, 'Datastore.Read')) return;
  await requireStore(call, order, ['Datastore.Read', 'Datastore.Backup']);
  const { store } = await openStore(call, order.store);
  const group = parseGroup(order.snapshot.slice(0, order.snapshot.lastIndexOf('/')));
  const state = await store.groups.state(parseNamespace(order.ns ?? ''), group);
  if (!owns(caller, state?.owner)) throw denied(caller, { path, anyOf: ['Datastore.Read'] }, true);
}
