// Our bitmaps inside a running QEMU: what is there, and what of it must go before it can mislead anybody.
import { type QmpCommands, queryBlockNodes } from '../qmp/qmp-types.ts';
import { type BitmapName, parseBitmapName } from './bitmap-names.ts';
import type { BitmapRecords } from './bitmap-records.ts';

export interface DiskBitmap extends BitmapName {
  readonly name: string;
  /** Of the node `d-KEY`. */
  readonly key: string;
  readonly node: string;
  /** Whether QEMU had no chance to store it: it says nothing, and only removing it works. */
  readonly isInconsistent: boolean;
  readonly isRecording: boolean;
  /** In use by an export or a job. */
  readonly isBusy: boolean;
  readonly dirtyBytes: number;
}

/** All bitmaps of ours, on the format nodes of disks. Not those in images that are open read-only: nobody can use or change them there. */
export async function listBitmaps(monitor: QmpCommands): Promise<DiskBitmap[]> {
  const found: DiskBitmap[] = [];
  for (const node of await queryBlockNodes(monitor)) {
    const key = /^d-(.+)$/.exec(node.nodeName)?.[1];
    if (key === undefined || node.readOnly) continue;
    for (const bitmap of node.bitmaps) {
      const name = parseBitmapName(bitmap.name);
      if (name === undefined) continue;
      found.push({
        ...name,
        name: bitmap.name,
        key,
        node: node.nodeName,
        isInconsistent: bitmap.inconsistent,
        isRecording: bitmap.recording,
        isBusy: bitmap.busy,
        dirtyBytes: bitmap.dirtyBytes,
      });
    }
  }
  return found;
}

/** Of a disk that comes to a running QEMU: who knows where it has been. */
export async function dropBitmaps(monitor: QmpCommands, key: string): Promise<void> {
  for (const { node, name, ...bitmap } of await listBitmaps(monitor))
    if (bitmap.key === key) await monitor.execute('block-dirty-bitmap-remove', { node, name });
}

/**
 * Leaves one bitmap for each disk and target: the one that the record names, recording, with everything in it that was written since its snapshot.
 * Bitmaps with a higher number are of a backup that came to no end, and are merged into it: it was disabled meanwhile. Lower ones are of before. What is
 * inconsistent, or has no record, goes. Call when no backup is under way; whether the guest runs does not matter.
 * `doubted` are disks of which none is believed. Returns the disks that lost their recorded bitmap: they are read in full.
 */
export async function reconcileBitmaps(
  monitor: QmpCommands,
  records: BitmapRecords,
  doubted: readonly string[] = [],
): Promise<string[]> {
  const lost = new Set<string>();
  const groups = new Map<string, DiskBitmap[]>();
  for (const bitmap of await listBitmaps(monitor)) {
    const group = `${bitmap.node} ${bitmap.target}`;
    groups.set(group, [...(groups.get(group) ?? []), bitmap]);
  }
  const actions: object[] = [];
  for (const bitmaps of groups.values()) {
    const { key, target, node } = bitmaps[0] as DiskBitmap;
    const recorded = bitmaps.find((bitmap) => bitmap.name === records[target]?.disks[key]?.bitmap);
    const since = bitmaps.filter((bitmap) => recorded !== undefined && bitmap.number > recorded.number);
    const isSound =
      recorded !== undefined && !doubted.includes(key) && ![recorded, ...since].some((bitmap) => bitmap.isInconsistent);
    const keep = isSound ? recorded : undefined;
    if (recorded !== undefined && keep === undefined) lost.add(key);
    if (keep !== undefined && !keep.isRecording)
      actions.push({ type: 'block-dirty-bitmap-enable', data: { node, name: keep.name } });
    if (keep !== undefined && since.length > 0)
      actions.push({
        type: 'block-dirty-bitmap-merge',
        data: { node, target: keep.name, bitmaps: since.map((bitmap) => bitmap.name) },
      });
    for (const { name } of bitmaps)
      if (name !== keep?.name) actions.push({ type: 'block-dirty-bitmap-remove', data: { node, name } });
  }
  // All or nothing: half of it would lose what was written.
  if (actions.length > 0) await monitor.execute('transaction', { actions });
  return [...lost];
}
