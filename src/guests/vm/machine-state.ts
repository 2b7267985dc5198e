// What is so of a guest right now, asked of the kernel and of QEMU.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { GuestNode } from '../guest-node.ts';
import { findQemu } from '../qemu/qemu-process.ts';
import { QmpClient } from '../qmp/qmp-client.ts';
import { type DiskTraffic, queryDiskTraffic, queryStatus } from '../qmp/qmp-types.ts';

/** A hung storage below QEMU hangs its monitor too; nobody waits for that longer. */
const ANSWER_TIMEOUT_MS = 5_000;

export interface MachineState {
  readonly pid: number | undefined;
  /** QEMU's word (`running`, `paused`, `prelaunch`, `io-error`, ...), `stopped` without a process, `silent` when it does not answer. */
  readonly status: string;
}

export interface BusyMachine extends MachineState {
  /** Undefined when it does not run, or QEMU does not say. */
  readonly traffic: DiskTraffic | undefined;
}

/** Takes as long as an answer may take, at most. */
export async function lookAtMachine(
  node: GuestNode,
  id: GuestId,
  signal?: AbortSignal,
  answerMs = ANSWER_TIMEOUT_MS,
): Promise<MachineState> {
  const { pid, status } = await look(node, id, false, signal, answerMs);
  return { pid, status };
}

/** The same, and what its disks have moved. */
export async function lookAtBusyMachine(
  node: GuestNode,
  id: GuestId,
  signal?: AbortSignal,
  answerMs = ANSWER_TIMEOUT_MS,
): Promise<BusyMachine> {
  return await look(node, id, true, signal, answerMs);
}

async function look(
  node: GuestNode,
  id: GuestId,
  withTraffic: boolean,
  signal: AbortSignal | undefined,
  answerMs: number,
): Promise<BusyMachine> {
  const run = node.directory.run(id);
  const pid = await findQemu(run);
  if (pid === undefined) return { pid, status: 'stopped', traffic: undefined };
  const deadline = performance.now() + answerMs;
  const left = () => ({ timeoutMs: deadline - performance.now(), signal });
  let traffic: DiskTraffic | undefined;
  const ask = async (monitor: QmpClient): Promise<string> => {
    const { status } = await queryStatus(monitor, left());
    // Its status is told all the same, when this is not.
    if (withTraffic) traffic = await queryDiskTraffic(monitor, left()).catch(unlessAborted(signal));
    return status;
  };
  try {
    return { pid, status: await withMonitor(node, id, ask, signal, answerMs), traffic };
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error.code === 'guest-stopped' || (await findQemu(run)) === undefined)
      return { pid: undefined, status: 'stopped', traffic: undefined };
    if (error.code === 'timed-out') return { pid, status: 'silent', traffic: undefined };
    throw error;
  }
}

function unlessAborted(signal: AbortSignal | undefined) {
  return (error: unknown): undefined => {
    signal?.throwIfAborted();
    if (!(error instanceof HoldfastError)) throw error;
  };
}

/** Runs `use` with the guest's control monitor. @throws `guest-stopped` when it does not run, `timed-out` when it does not answer. */
export async function withMonitor<Result>(
  node: GuestNode,
  id: GuestId,
  use: (monitor: QmpClient) => Promise<Result>,
  signal?: AbortSignal,
  connectMs = ANSWER_TIMEOUT_MS,
): Promise<Result> {
  const run = node.directory.run(id);
  if ((await findQemu(run)) === undefined) throw notRunning(id);
  const monitor = await QmpClient.connect(run.controlMonitor, {
    label: `VM ${id}`,
    timeoutMs: connectMs,
    signal,
  });
  try {
    return await use(monitor);
  } finally {
    monitor.close();
  }
}

/** `why` it has to be stopped, and how. @throws `guest-running`. */
export async function requireStopped(node: GuestNode, id: GuestId, why: string, signal?: AbortSignal): Promise<void> {
  if ((await lookAtMachine(node, id, signal)).pid === undefined) return;
  throw new HoldfastError('guest-running', `VM ${id} is running; ${why}`, { data: { vmid: id } });
}

export function notRunning(id: GuestId): HoldfastError {
  return new HoldfastError('guest-stopped', `VM ${id} not running`, { data: { vmid: id } });
}
