// From what snapshot each disk goes on. A disk is incremental only when its bitmap is there and sound, and the record beside it fits in everything: the
// snapshot is one that this backup may build on, its image has the root that was recorded, and the disk is the same volume with the same
// size. Whatever is in doubt is read in full, and why is said.
import { formatBitmapName } from '../../guests/bitmaps/bitmap-names.ts';
import type { TargetRecord } from '../../guests/bitmaps/bitmap-records.ts';
import type { DiskBitmap } from '../../guests/bitmaps/qemu-bitmaps.ts';
import type { Base } from '../backup/session.ts';
import { archiveOf, type VmDisk } from './vm-disk.ts';

export interface DiskPlan {
  readonly disk: VmDisk;
  /** The bitmap that names what changed since the base; undefined when the disk is read in full. */
  readonly since: string | undefined;
  /** Why it is read in full. */
  readonly why: string | undefined;
  /** The bitmap that records from this backup on. */
  readonly next: string;
}

export interface BasePlan {
  /** `TYPE/ID/TIME`; undefined when every disk is read in full. */
  readonly base: string | undefined;
  readonly disks: readonly DiskPlan[];
}

/** `record` and `bitmaps` are those of `target`, after they were reconciled. */
export function chooseBase(
  target: string,
  disks: readonly VmDisk[],
  bitmaps: readonly DiskBitmap[],
  record: TargetRecord | undefined,
  bases: readonly Base[],
): BasePlan {
  const ours = bitmaps.filter((bitmap) => bitmap.target === target);
  const number = 1 + Math.max(0, ...ours.map((bitmap) => bitmap.number));
  const next = formatBitmapName({ target, number });
  const base = bases.find((candidate) => candidate.name === record?.snapshot);
  const plans = disks.map((disk): DiskPlan => {
    const bitmap = ours.find(({ key, name }) => key === disk.key && name === record?.disks[disk.key]?.bitmap);
    const why = doubt(disk, bitmap, record, base);
    return { disk, since: why === undefined ? bitmap?.name : undefined, why, next };
  });
  return { base: plans.some((plan) => plan.since !== undefined) ? base?.name : undefined, disks: plans };
}

function doubt(
  disk: VmDisk,
  bitmap: DiskBitmap | undefined,
  record: TargetRecord | undefined,
  base: Base | undefined,
): string | undefined {
  const known = record?.disks[disk.key];
  if (record === undefined) return 'it is the first backup of this guest there';
  if (disk.isReadOnly) return 'it is read-only and has no bitmap';
  if (disk.sizeBytes === 0) return 'it is empty and has no bitmap';
  if (known === undefined) return 'the disk is new';
  if (base === undefined)
    return `the last backup (${record.snapshot}) is not one of the newest two that it may build on`;
  const archive = base.archives.find(({ name }) => name === archiveOf(disk.key));
  if (archive?.kind !== 'image' || archive.root !== known.root)
    return `${base.name} is not the snapshot that the bitmap knows`;
  if (known.volume !== disk.volume) return `the disk was another volume then (${known.volume})`;
  if (known.sizeBytes !== disk.sizeBytes || archive.sizeBytes !== disk.sizeBytes)
    return `the disk had ${known.sizeBytes} bytes then and has ${disk.sizeBytes} now`;
  if (bitmap === undefined)
    return 'its bitmap is gone: QEMU ended without storing it, or the disk was written to by something else';
  if (bitmap.isInconsistent) return 'its bitmap is inconsistent';
  return undefined;
}
