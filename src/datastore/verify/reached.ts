// What some snapshots reach: walked on all threads, each object once.
import { setImmediate } from 'node:timers/promises';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { type Root, rootsOf } from '../gc/roots.ts';
import type { Unreadable } from '../gc/walk.ts';
import { walkAll } from '../gc/walk-all.ts';
import { EntrySet } from '../index/entry-set.ts';
import type { ObjectIndex } from '../index/object-index.ts';
import type { NamedManifest } from './snapshot-damage.ts';

/** Entries that are counted without a pause: some 20 ms. */
const SLICE_ENTRIES = 1 << 18;

export interface Reached {
  /** Index entries of what is reached and has a good copy. */
  readonly entries: EntrySet;
  readonly metadataRead: number;
  readonly unreadable: readonly Unreadable[];
}

/** Reads all metadata that the snapshots reach, and looks whether their data is there. */
export async function reach(
  pool: WorkerPool,
  snapshots: readonly NamedManifest[],
  signal: AbortSignal,
): Promise<Reached> {
  const roots = new Map<string, Root>();
  for (const { manifest } of snapshots)
    for (const root of rootsOf(manifest)) roots.set(`${root.space}:${Buffer.from(root.id).toString('hex')}`, root);
  const entries = new EntrySet();
  const walked = await walkAll(pool, { visited: entries.buffer, marks: false }, [...roots.values()], signal);
  return { entries, ...walked };
}

/** The packs that hold these entries, with the bytes of their records there. */
export async function packsOf(
  index: ObjectIndex,
  entries: EntrySet,
  signal: AbortSignal,
): Promise<Map<number, number>> {
  const bytes = new Map<number, number>();
  for (let entry = 0; entry < index.entryLimit; entry++) {
    if (entry % SLICE_ENTRIES === SLICE_ENTRIES - 1) {
      signal.throwIfAborted();
      await setImmediate();
    }
    if (!entries.has(entry)) continue;
    const pack = index.pack(entry);
    bytes.set(pack, (bytes.get(pack) ?? 0) + index.length(entry));
  }
  return bytes;
}
