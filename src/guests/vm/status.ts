// qm status and qm list: what users see of a guest.
import { readFile } from 'node:fs/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { DISK_KEYS, parseDrive } from '../config/drive.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { GuestNode } from '../guest-node.ts';
import { readRunningMachine } from '../qemu/running-machine.ts';
import { lookAtMachine } from './machine-state.ts';

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
}

/** `answerMs`: what its QEMU gets to answer, 5 s by default. @throws `not-found`. */
export async function vmStatus(
  node: GuestNode,
  id: GuestId,
  signal?: AbortSignal,
  answerMs?: number,
): Promise<VmStatus> {
  const { config } = await node.configs.read(id);
  const { pid, status } = await lookAtMachine(node, id, signal, answerMs);
  const { values } = config;
  const machine =
    pid === undefined ? undefined : await readRunningMachine(node.directory.run(id)).catch(() => undefined);
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
    processors: Number(values.get('sockets') ?? 1) * Number(values.get('cores') ?? 1),
    memoryBytes: Number(values.get('memory')?.replace(/^current=/, '') ?? 512) * 1024 ** 2,
    usedMemoryBytes: pid === undefined ? 0 : await residentBytes(pid),
    diskBytes: firstDiskBytes(config),
  };
}

/**
 * All guests of the node, by number. One whose configuration cannot be read is told, and left out.
 * @throws the signal's reason.
 */
export async function listVms(
  node: GuestNode,
  warn: (line: string) => void,
  signal?: AbortSignal,
  answerMs?: number,
): Promise<VmStatus[]> {
  const ids = await node.configs.list();
  const found = new Map<GuestId, VmStatus>();
  const left = ids.values();
  const lookOn = async (): Promise<void> => {
    for (const id of left) {
      try {
        found.set(id, await vmStatus(node, id, signal, answerMs));
      } catch (error) {
        signal?.throwIfAborted();
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
