// What each bitmap of a guest is good for: `guests/VMID/bitmaps.json`. A bitmap without a record that fits in every member is not believed.
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import type { GuestId } from '../../schema/guest-names.ts';
import { readIfPresent, removeDurably, writeFileAtomic } from '../../util/atomic-file.ts';
import { parseIfSound } from '../../util/json-file.ts';
import type { NodeDirectory } from '../node-directory.ts';

const DiskRecord = Type.Object({
  /** Records what was written since the snapshot; `hf-TARGET-N`. */
  bitmap: Type.String(),
  /** Root id of the disk's image in the snapshot. */
  root: Type.String(),
  volume: Type.String(),
  sizeBytes: Type.Integer({ minimum: 0 }),
});
export type DiskRecord = Static<typeof DiskRecord>;

const TargetRecord = Type.Object({
  /** `vm/101/2026-11-20T02:00:00Z` */
  snapshot: Type.String(),
  /** By disk key. */
  disks: Type.Record(Type.String(), DiskRecord),
});
export type TargetRecord = Static<typeof TargetRecord>;

const Records = Type.Object({ format: Type.Literal(1), targets: Type.Record(Type.String(), TargetRecord) });

export type BitmapRecords = Readonly<Record<string, TargetRecord>>;

/** By target. A file that cannot be read is as good as none: the next backup reads in full. */
export async function readBitmapRecords(node: NodeDirectory, id: GuestId): Promise<BitmapRecords> {
  const text = await readIfPresent(fileOf(node, id));
  return (text !== undefined && parseIfSound(text, Records)?.targets) || {};
}

/** Call with the guest's lock or its backup's lock. */
export async function writeBitmapRecord(
  node: NodeDirectory,
  id: GuestId,
  target: string,
  record: TargetRecord,
): Promise<void> {
  const targets = { ...(await readBitmapRecords(node, id)), [target]: record };
  await writeFileAtomic(fileOf(node, id), `${JSON.stringify({ format: 1, targets }, null, 2)}\n`);
}

/** Nothing of the guest is believed from here on: after a rollback, a restore, or whatever else changed a disk outside of QEMU. */
export async function dropBitmapRecords(node: NodeDirectory, id: GuestId): Promise<void> {
  await removeDurably(fileOf(node, id));
}

function fileOf(node: NodeDirectory, id: GuestId): string {
  return join(node.guestPath(id), 'bitmaps.json');
}
