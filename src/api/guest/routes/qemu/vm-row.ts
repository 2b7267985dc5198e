// A virtual machine in the list of a node, and its status. `template` is left out where it is not one: clients take any value for yes.
import { type Static, Type } from 'typebox';
import type { VmStatus, VmSummary } from '../../services.ts';
import { Count, Flag, flag, given } from '../parameters.ts';

const ROW = {
  vmid: Count,
  status: Type.Enum(['running', 'stopped']),
  name: Type.Optional(Type.String()),
  tags: Type.Optional(Type.String()),
  lock: Type.Optional(Type.String()),
  template: Type.Optional(Flag),
  pid: Type.Optional(Count),
  cpus: Count,
  maxmem: Count,
  maxdisk: Count,
  uptime: Count,
  cpu: Type.Number(),
  mem: Count,
  disk: Count,
  diskread: Count,
  diskwrite: Count,
  netin: Count,
  netout: Count,
};
export const VmRow = Type.Object(ROW);
export const VmCurrent = Type.Object({
  ...ROW,
  qmpstatus: Type.String(),
  ha: Type.Object({ managed: Flag }),
  agent: Type.Optional(Flag),
  serial: Type.Optional(Flag),
  'running-machine': Type.Optional(Type.String()),
  'running-qemu': Type.Optional(Type.String()),
});

/** Whole numbers, whatever was measured: clients take nothing else. */
export function usageOf({ usage, uptimeSeconds = 0 }: VmSummary) {
  const whole = (value: number | undefined): number => Math.max(0, Math.round(value ?? 0));
  return {
    uptime: whole(uptimeSeconds),
    cpu: usage?.cpu ?? 0,
    mem: whole(usage?.memoryBytes),
    disk: 0,
    diskread: whole(usage?.diskReadBytes),
    diskwrite: whole(usage?.diskWriteBytes),
    netin: whole(usage?.netInBytes),
    netout: whole(usage?.netOutBytes),
  };
}

export function summaryOf(vm: VmSummary): Static<typeof VmRow> {
  const { vmid, status, name, tags, lock, pid, isTemplate, cpus, memoryBytes, diskBytes } = vm;
  return {
    vmid,
    status,
    name: name ?? `VM ${vmid}`,
    ...given({ tags, lock, pid, template: isTemplate ? 1 : undefined }),
    cpus,
    maxmem: memoryBytes,
    maxdisk: diskBytes,
    ...usageOf(vm),
  };
}

export function currentOf(vm: VmStatus): Static<typeof VmCurrent> {
  const { qmpStatus, hasAgent, hasSerial, runningMachine, runningQemu } = vm;
  return {
    ...summaryOf(vm),
    qmpstatus: qmpStatus,
    ha: { managed: flag(false) },
    ...given({
      agent: hasAgent ? 1 : undefined,
      serial: hasSerial ? 1 : undefined,
      'running-machine': runningMachine,
      'running-qemu': runningQemu,
    }),
  };
}
