// What of an archive a backup must read again, whatever its kind.
import type { Archive } from '../schema/manifest.ts';
import { type DamagedRange, type DamageSource, DamageWalk } from './damage.ts';
import { TreeDamageWalk } from './tree-damage.ts';

/** Damaged ranges of an archive. A tree has none of its own: when anything of it is damaged, one range that stands for all of it. */
export function damagedRanges(source: DamageSource, archive: Archive): DamagedRange[] {
  if (archive.kind !== 'tree') return new DamageWalk(source).ranges(archive);
  const { count } = new TreeDamageWalk(source, 0).damage(archive, true);
  return count === 0 ? [] : [{ archive: archive.name, offset: 0, length: archive.sizeBytes }];
}
