// The watch of a node's guests: puts away those that powered themselves off, frees what a killed QEMU left on the host, thaws and lets run what nobody does any more.
// It hears of an end by QEMU's events; the look every few seconds is only for guests that came or vanished. It owns nothing: killed, the next one goes on.
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type GuestId, MAX_VMID, MIN_VMID, parseGuestId } from '../../schema/guest-names.ts';
import { systemCode } from '../../util/errors.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { lockWatch } from './watch-lock.ts';
import { WatchedGuest } from './watched-guest.ts';

const LOOK_MS = 3_000;

export interface WatchOptions {
  readonly lookMs?: number;
  /** Ends when for so long no guest ran; default never. */
  readonly idleMs?: number;
}

/** Watches until the signal, or until idle. False, at once, when another watch runs. */
export async function watchGuests(
  node: GuestNode,
  signal: AbortSignal,
  report: Report,
  { lookMs = LOOK_MS, idleMs = Number.POSITIVE_INFINITY }: WatchOptions = {},
): Promise<boolean> {
  const lock = await lockWatch(node.directory);
  if (lock === undefined) return false;
  const guests = new Map<GuestId, WatchedGuest>();
  let wake = new AbortController();
  let lastSeen = performance.now();
  try {
    while (!signal.aborted) {
      for (const id of await idsWithRunDirectory(node.directory.runPath))
        if (!guests.has(id)) guests.set(id, new WatchedGuest(node, id, report, () => wake.abort()));
      for (const [id, guest] of guests) {
        const isThere = await guest.look().catch((error: Error) => {
          report.warn(`VM ${id}: ${error.message}`);
          return true;
        });
        if (isThere) lastSeen = performance.now();
        else guests.delete(id);
      }
      if (performance.now() - lastSeen > idleMs) break;
      await sleep(lookMs, undefined, { signal: AbortSignal.any([signal, wake.signal]) }).catch(() => undefined);
      if (wake.signal.aborted) wake = new AbortController();
    }
    return true;
  } finally {
    for (const guest of guests.values()) guest.close();
    lock.release();
  }
}

/** Guests that have run since the host booted, whatever became of their configuration. */
async function idsWithRunDirectory(runPath: string): Promise<GuestId[]> {
  const names = await readdir(runPath).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
  return names
    .filter((name) => /^[1-9]\d{2,8}$/.test(name) && Number(name) >= MIN_VMID && Number(name) <= MAX_VMID)
    .map(parseGuestId);
}
