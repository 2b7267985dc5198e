// A snapshot stands: what its disks were is recorded beside the bitmaps that record from then on.
import { writeBitmapRecord } from '../../guests/bitmaps/bitmap-records.ts';
import type { GuestNode } from '../../guests/guest-node.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import type { Manifest } from '../../schema/manifest.ts';
import { formatTime } from '../../schema/names.ts';
import type { BasePlan } from './choose-base.ts';
import { archiveOf, hasBitmap } from './vm-disk.ts';

/** Durable when it returns. Disks without a bitmap have no record. */
export async function recordBitmaps(
  node: GuestNode,
  id: GuestId,
  target: string,
  plan: BasePlan,
  manifest: Manifest,
): Promise<void> {
  const disks = plan.disks.flatMap(({ disk, next }) => {
    const archive = manifest.client.archives.find(({ name }) => name === archiveOf(disk.key));
    if (archive === undefined || !hasBitmap(disk)) return [];
    const { volume, sizeBytes } = disk;
    return [[disk.key, { bitmap: next, root: archive.root, volume, sizeBytes }] as const];
  });
  const snapshot = `${manifest.client.backup}/${formatTime(manifest.server.time)}`;
  await writeBitmapRecord(node.directory, id, target, { snapshot, disks: Object.fromEntries(disks) });
}
