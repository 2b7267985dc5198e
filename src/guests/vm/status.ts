// qm status and qm list: what users see of a guest.
import { readFile } from 'node:fs/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { DISK_KEYS, parseDrive } from '../config/drive.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { GuestNode } from '../guest-node.ts';
import { readRunningMachine } from '../qemu/running-machine.ts';
import type { DiskTraffic } from '../qmp/qmp-types.ts';
import { lookAtBusyMachine } from './machine-state.ts';
import { type NetworkTraffic, networkTraffic, ProcessorMeter, readLinks } from './usage.ts';

/** Guests that a list looks at side by side, each by a connection. Of those whose QEMU hangs so many take 5 s together, and not each. */
const LOOKS_AT_ONCE = 32;

export interface VmStatus {
  readonly vmid: GuestId;
  readonly name: string;
  /** A guest that has powered itself off is `stopped`, though its process is not put away yet. */
  readonly status: 'running' | 'stopped';
  /** QEMU's own word. */
  readonly qmpStatus: string;
  readonly lock: string | undefined;
  readonly tags: string | undefined;
  readonly isTemplate: boolean;
  readonly pid: number | undefined;
  /** Seconds. */
  readonly uptimeSeconds: number;
  readonly accelerator: 'kvm' | 'tcg' | undefined;
  readonly machineType: string | undefined;
  readonly processors: number;
  readonly memoryBytes: number;
  /** Of the process. */
  readonly usedMemoryBytes: number;
  /** Of the disk that is booted from, or the first. */
  readonly diskBytes: number;
  /** Of one that runs; what is not known is left out. */
  readonly usage: VmUsage | undefined;
}

export interface VmUsage {
  /** 0 to 1, of all its processors. */
  readonly cpu?: number;
  readonly diskReadBytes?: number;
  readonly diskWriteBytes?: number;
  readonly netInBytes: number;
  readonly netOutBytes: number;
}

export interface LookOptions {
  readonly signal?: AbortSignal | undefined;
  /** What its QEMU gets to answer, 5 s by default. */
  readonly answerMs?: number | undefined;
  /** Of earlier looks; without one the use of processors is the mean since the start. */
  readonly meter?: ProcessorMeter | undefined;
  /** Of the host, when they have been read. */
  readonly links?: ReadonlyMap<string, NetworkTraffic> | undefined;
}

/** @throws `not-found`. */
export async function vmStatus(node: GuestNode, id: GuestId, options: LookOptions = {}): Promise<VmStatus> {
  const { signal, answerMs } = options;
  const { config } = await node.configs.read(id);
  const { pid, status, traffic } = await lookAtBusyMachine(node, id, signal, answerMs);
  const { values } = config;
  const machine =
    pid === undefined ? undefined : await readRunningMachine(node.directory.run(id)).catch(() => undefined);
  const processors = Number(values.get('sockets') ?? 1) * Number(values.get('cores') ?? 1);
  return {
    vmid: id,
    name: values.get('name') ?? `VM ${id}`,
    status: pid === undefined || status === 'shutdown' ? 'stopped' : 'running',
    qmpStatus: status,
    lock: values.get('lock'),
    tags: values.get('tags'),
    isTemplate: values.get('template') === '1',
    pid,
    uptimeSeconds:
      machine === undefined ? 0 : Math.max(0, Math.floor((Date.now() - Date.parse(machine.started)) / 1000)),
    accelerator: machine?.accelerator,
    machineType: machine?.machineType,
    processors,
    memoryBytes: Number(values.get('memory')?.replace(/^current=/, '') ?? 512) * 1024 ** 2,
    usedMemoryBytes: pid === undefined ? 0 : await residentBytes(pid),
    diskBytes: firstDiskBytes(config),
    usage: pid === undefined ? undefined : await usageOf(id, pid, processors, traffic, options),
  };
}

async function usageOf(
  id: GuestId,
  pid: number,
  processors: number,
  traffic: DiskTraffic | undefined,
  { meter = new ProcessorMeter(), links }: LookOptions,
): Promise<VmUsage> {
  const cpu = await meter.look(id, pid, processors);
  const { inBytes, outBytes } = networkTraffic(id, links ?? (await readLinks()));
  return {
    ...(cpu !== undefined && { cpu }),
    ...(traffic !== undefined && { diskReadBytes: traffic.readBytes, diskWriteBytes: traffic.writtenBytes }),
    netInBytes: inBytes,
    netOutBytes: outBytes,
  };
}

/**
 * All guests of the node, by number. One whose configuration cannot be read is told, and left out.
 * @throws the signal's reason.
 */
export async function listVms(
  node: GuestNode,
  warn: (line: string) => void,
  options: LookOptions = {},
): Promise<VmStatus[]> {
  const ids = await node.configs.list();
  const links = await readLinks();
  const found = new Map<GuestId, VmStatus>();
  const left = ids.values();
  const lookOn = async (): Promise<void> => {
    for (const id of left) {
      try {
        found.set(id, await vmStatus(node, id, { ...options, links }));
      } catch (error) {
        options.signal?.throwIfAborted();
        warn(`VM ${id}: ${(error as Error).message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, lookOn));
  return ids.flatMap((id) => found.get(id) ?? []);
}

async function residentBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}

function firstDiskBytes({ values }: VmConfig): number {
  for (const key of DISK_KEYS) {
    const value = values.get(key);
    if (value === undefined) continue;
    const drive = parseDrive(key, value);
    if (drive.media === 'disk' && !/^(efidisk|tpmstate)/.test(key)) return drive.size ?? 0;
  }
  return 0;
}
