// How fast a backup reads (`--bwlimit`), the same in a running QEMU and in a storage daemon of ours: one throttle group for all disks, and a throttle node of it above
// what is exported of each.
import { ignoreRefusal, type QmpCommands } from '../../guests/qmp/qmp-types.ts';
import { type SharedPace, sharePace } from '../nbd/pace.ts';
import { backupNames } from './vm-disk.ts';

const GROUP = 'hf-limit';
/** A drain waits for what the guest has under way. */
const DRAIN_TIMEOUT_MS = 120_000;

/** `bytesPerSecond`: of all disks together; undefined for no limit. */
export async function addReadLimit(monitor: QmpCommands, bytesPerSecond: number | undefined): Promise<void> {
  if (bytesPerSecond === undefined) return;
  const limits = { 'bps-read': bytesPerSecond };
  await monitor.execute('object-add', { 'qom-type': 'throttle-group', id: GROUP, limits });
}

/** Returns the node of a disk to be exported: `node`, or the limit's above it. */
export async function limitReads(
  monitor: QmpCommands,
  key: string,
  node: string,
  bytesPerSecond: number | undefined,
): Promise<string> {
  if (bytesPerSecond === undefined) return node;
  await monitor.execute('blockdev-add', limitNode(key, node));
  return backupNames(key).limit;
}

function limitNode(key: string, file: string): Readonly<Record<string, unknown>> {
  const name = backupNames(key).limit;
  return { driver: 'throttle', 'node-name': name, 'throttle-group': GROUP, file, 'read-only': true };
}

/** Lets through at once what waits there: an export goes only when its reads have ended. For disks that have such a node. */
export async function passWaitingReads(
  monitor: QmpCommands,
  limited: readonly { readonly key: string; readonly below: string }[],
): Promise<void> {
  if (limited.length === 0) return;
  // A drain does it; the nodes stay as they are.
  const options = limited.map(({ key, below }) => limitNode(key, below));
  await monitor.execute('blockdev-reopen', { options }, { timeoutMs: DRAIN_TIMEOUT_MS });
}

/** Call when the disks' nodes of it are gone, or were never there. */
export async function removeReadLimit(monitor: QmpCommands): Promise<void> {
  await monitor.execute('object-del', { id: GROUP }).catch(ignoreRefusal);
}

/** What a reader asks for at once at most: sixteen clusters, of a guest that runs. */
const WAITING_BYTES = 16 * 64 * 1024;
/** An answer that no limit holds up. */
const ANSWER_MS = 60_000;

/**
 * How long a reader waits for an answer before it takes QEMU for dead: what all readers have asked for may stand before it, and passes at the limit. Undefined
 * without a limit.
 */
export function limitedTimeoutMs(bytesPerSecond: number | undefined, readers: number): number | undefined {
  if (bytesPerSecond === undefined) return undefined;
  return ANSWER_MS + Math.ceil((readers * WAITING_BYTES * 1000) / bytesPerSecond);
}

/** Small ones: all threads share the limit, and an aborted backup waits for those that are under way. */
export function limitedPace(): SharedPace {
  return sharePace({ bytes: 64 * 1024, depth: 4 });
}
