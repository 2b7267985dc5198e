// The end of a guest's QEMU: its bitmaps are stored, then it quits, then what was made for it on the host goes. A guest that powered itself off waits for
// this in the state `shutdown`.
import type { GuestId } from '../../schema/guest-names.ts';
import { fileDisks, sealSidecars, storeSidecars, type Unsealed } from '../bitmaps/sidecars.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { endQemu } from '../qemu/qemu-process.ts';
import { readRunningMachine } from '../qemu/running-machine.ts';
import { QmpClient } from '../qmp/qmp-client.ts';
import { runGuestHook } from './guest-hook.ts';
import { lookAtMachine } from './machine-state.ts';
import { releaseHost } from './release-host.ts';

/** Flushing of caches included. */
const QUIT_TIMEOUT_MS = 30_000;

/** QEMU's states in which the guest's system has ended and only its bitmaps keep the process. */
const ENDED = ['shutdown', 'guest-panicked'];

/**
 * Ends a guest's QEMU, whatever state it is in. Call with the guest's lock. Bitmaps that cannot be stored cost a full read, and are told; they never
 * keep a guest from stopping.
 * @throws `timed-out` when the process cannot be killed.
 */
export async function putAway(node: GuestNode, id: GuestId, report: Report): Promise<void> {
  const run = node.directory.run(id);
  const monitor = await QmpClient.connect(run.controlMonitor, { label: `VM ${id}`, timeoutMs: QUIT_TIMEOUT_MS }).catch(
    (error: Error) => {
      report.warn(`QEMU's monitor does not answer (${error.message}); its process is ended by a signal`);
      return undefined;
    },
  );
  try {
    const unsealed = monitor === undefined ? {} : await storeBitmaps(monitor, node, id, report);
    await endQemu(run, monitor, QUIT_TIMEOUT_MS);
    await sealSidecars(node.directory, id, unsealed);
  } finally {
    monitor?.close();
  }
  await releaseHost(node, id);
  const { config } = await node.configs.read(id);
  await runGuestHook(node, id, config, 'post-stop', report);
}

/** Puts away a guest that has ended by itself. Call with the guest's lock; returns whether there was one. */
export async function settle(node: GuestNode, id: GuestId, report: Report): Promise<boolean> {
  const { pid, status } = await lookAtMachine(node, id);
  if (pid === undefined || !ENDED.includes(status)) return false;
  report.log(`the guest has powered itself off (${status})`);
  await putAway(node, id, report);
  return true;
}

async function storeBitmaps(monitor: QmpClient, node: GuestNode, id: GuestId, report: Report): Promise<Unsealed> {
  try {
    const { disks } = await readRunningMachine(node.directory.run(id));
    // Nothing may be written behind a bitmap that is being copied.
    await monitor.execute('stop', undefined, { timeoutMs: QUIT_TIMEOUT_MS });
    return await storeSidecars(monitor, node.directory, id, fileDisks(disks));
  } catch (error) {
    report.warn(`bitmaps were not stored, so the next backup reads the disks in full: ${(error as Error).message}`);
    return {};
  }
}

/** Whether the guest's system has ended. */
export async function hasEnded(node: GuestNode, id: GuestId, signal?: AbortSignal): Promise<boolean> {
  const { pid, status } = await lookAtMachine(node, id, signal);
  return pid === undefined || ENDED.includes(status);
}
