// /nodes: this machine.
import { type Static, Type } from 'typebox';
import { nodeStatus } from '../../../node-status/node-status.ts';
import { defineGuestMethod, type GuestCall, may, requireNode, requireOnNode } from '../../method.ts';
import { Count, Flag, flag, Node } from '../parameters.ts';

const OfNode = Type.Object({ node: Node });
const Space = { total: Count, used: Count, free: Count };
const Usage = {
  cpu: Type.Number(),
  maxcpu: Count,
  mem: Count,
  maxmem: Count,
  disk: Count,
  maxdisk: Count,
  uptime: Count,
};
export const NodeUsage = Type.Object(Usage);

export const NODE_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: '/nodes',
    description: 'The machines of this server: this one. Its figures with Sys.Audit on it.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(
      Type.Object({
        node: Type.String(),
        id: Type.String(),
        type: Type.Enum(['node']),
        status: Type.Enum(['online']),
        level: Type.String(),
        ssl_fingerprint: Type.String(),
        ...Usage,
      }),
    ),
    handler: async (call) => {
      const { name, fingerprint } = call.services.node;
      return [
        {
          node: name,
          id: `node/${name}`,
          type: 'node' as const,
          status: 'online' as const,
          level: '',
          ssl_fingerprint: fingerprint(),
          ...(await usageOfNode(call)),
        },
      ];
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/nodes/{node}/status',
    description: 'Processor, memory, disk and load of this machine, with Sys.Audit on it.',
    access: { auth: true },
    parameters: OfNode,
    returns: Type.Object({
      cpu: Type.Number(),
      wait: Type.Number(),
      idle: Count,
      cpuinfo: Type.Object({ cores: Count, cpus: Count, sockets: Count, model: Type.String() }),
      loadavg: Type.Array(Type.String(), { minItems: 3, maxItems: 3 }),
      memory: Type.Object({ ...Space, available: Count }),
      swap: Type.Object(Space),
      rootfs: Type.Object({ ...Space, avail: Count }),
      ksm: Type.Object({ shared: Count }),
      uptime: Count,
      kversion: Type.String(),
      pveversion: Type.String(),
      'current-kernel': Type.Object({
        sysname: Type.String(),
        release: Type.String(),
        version: Type.String(),
        machine: Type.String(),
      }),
      'boot-info': Type.Object({ mode: Type.String(), secureboot: Flag }),
    }),
    handler: async (call, { node }) => {
      requireOnNode(call, node, 'Sys.Audit');
      const { version } = call.services;
      const { root, loadavg, memory, cpuinfo, info: _, 'boot-info': boot, ...same } = await statusOf(call);
      return {
        ...same,
        idle: 0,
        cpuinfo: { ...cpuinfo, cores: Math.max(1, Math.floor(cpuinfo.cpus / cpuinfo.sockets)) },
        // As texts, here alone: clients of this dialect take nothing else.
        loadavg: loadavg.map((load) => load.toFixed(2)),
        memory: { ...memory, available: memory.total - memory.used },
        rootfs: { ...root, free: root.avail },
        ksm: { shared: 0 },
        pveversion: `pve-manager/${version.version}/${version.repoid}`,
        'boot-info': { mode: boot.mode, secureboot: flag(boot.secureboot) },
      };
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/nodes/{node}/subscription',
    description: 'There is none and none is needed; clients ask for it.',
    access: { auth: true },
    parameters: OfNode,
    returns: Type.Object({ status: Type.Enum(['notfound']), message: Type.String(), serverid: Type.String() }),
    handler: (call, { node }) => {
      requireNode(call, node);
      const message = 'There is no subscription key, and none is needed';
      return { status: 'notfound' as const, message, serverid: call.services.node.instanceId };
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/nodes/{node}/time',
    description: 'The clock of this machine and its time zone, with Sys.Audit on it.',
    access: { auth: true },
    parameters: OfNode,
    returns: Type.Object({ time: Type.Integer(), localtime: Type.Integer(), timezone: Type.String() }),
    handler: (call, { node }) => {
      requireOnNode(call, node, 'Sys.Audit');
      const nowMs = call.services.clock();
      const time = Math.floor(nowMs / 1000);
      const localtime = time - new Date(nowMs).getTimezoneOffset() * 60;
      return { time, localtime, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone };
    },
  }),
];

const NOTHING_KNOWN = { cpu: 0, maxcpu: 0, mem: 0, maxmem: 0, disk: 0, maxdisk: 0, uptime: 0 };

/** Zeros for whoever may not look at the node: clients read the members without asking whether they are there. */
export async function usageOfNode(call: GuestCall): Promise<Static<typeof NodeUsage>> {
  if (!may(call, `/nodes/${call.services.node.name}`, 'Sys.Audit')) return NOTHING_KNOWN;
  const { cpu, cpuinfo, memory, root, uptime } = await statusOf(call);
  return {
    cpu,
    maxcpu: cpuinfo.cpus,
    mem: memory.used,
    maxmem: memory.total,
    disk: root.used,
    maxdisk: root.total,
    uptime,
  };
}

function statusOf({ services, signal }: GuestCall) {
  return nodeStatus(services.node.fingerprint(), signal);
}
