// The status of a machine, as clients of the backup dialect read it.
import { Type } from 'typebox';

const Count = Type.Integer({ minimum: 0 });

export const NodeStatus = Type.Object({
  cpu: Type.Number({ description: 'Share of the processors that was busy, 0 to 1.' }),
  wait: Type.Number({ description: 'Share that waited for disks, 0 to 1.' }),
  cpuinfo: Type.Object({ cpus: Count, model: Type.String(), sockets: Count }),
  loadavg: Type.Array(Type.Number(), { minItems: 3, maxItems: 3 }),
  memory: Type.Object({ total: Count, used: Count, free: Count }),
  swap: Type.Object({ total: Count, used: Count, free: Count }),
  root: Type.Object({ total: Count, used: Count, avail: Count }),
  uptime: Count,
  kversion: Type.String(),
  'current-kernel': Type.Object({
    sysname: Type.String(),
    release: Type.String(),
    version: Type.String(),
    machine: Type.String(),
  }),
  'boot-info': Type.Object({ mode: Type.Enum(['efi', 'legacy-bios']), secureboot: Type.Boolean() }),
  info: Type.Object({ fingerprint: Type.String() }),
});
