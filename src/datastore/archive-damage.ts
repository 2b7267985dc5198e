// What of an archive cannot be read back, whatever its kind, in a space whose objects can be opened here.
import type { Archive } from '../schema/manifest.ts';
import { type ArchiveDamageFinder, type DamagedRange, type DamageSource, DamageWalk } from './damage.ts';
import type { TreeDamage } from './damaged-paths.ts';
import { TreeDamageWalk } from './tree-damage.ts';

/** Its answers count while nothing that it has looked at changes. */
export class ReadableDamage implements ArchiveDamageFinder {
  readonly #source: DamageSource;
  readonly #disks: DamageWalk;
  readonly #trees: TreeDamageWalk;

  constructor(source: DamageSource) {
    this.#source = source;
    this.#disks = new DamageWalk(source);
    this.#trees = new TreeDamageWalk(source);
  }

  /** Of a tree, which has no ranges of its own: when anything of it is damaged, one range that stands for all of it. */
  ranges(archive: Archive): DamagedRange[] {
    if (archive.kind !== 'tree') return this.#disks.ranges(archive);
    const { count } = new TreeDamageWalk(this.#source, 0).damage(archive, true);
    return count === 0 ? [] : [{ archive: archive.name, offset: 0, length: archive.sizeBytes }];
  }

  files(archive: Archive): TreeDamage | undefined {
    return archive.kind === 'tree' ? this.#trees.damage(archive) : undefined;
  }
}
