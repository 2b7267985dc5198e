// A worker thread's part in a verification: one pack at a time, in steps, so that backups in the same thread go on in between; and the
// damaged ranges and files of archives.
import { PLAIN_SPACE } from '../../chunker/object.ts';
import type { Archive } from '../../schema/manifest.ts';
import type { Area } from '../../util/arena.ts';
import type { Handlers } from '../../util/worker-pool.ts';
import type { ArchiveDamageFinder, DamagedRange } from '../damage.ts';
import type { TreeDamage } from '../damaged-paths.ts';
import { damageFinder } from '../find-damage.ts';
import { EntrySet } from '../index/entry-set.ts';
import { type CheckEnvironment, createInput, PackCheck, type PackProgress } from './pack-check.ts';
import { RecordCheck } from './record-check.ts';

export interface PackStart {
  readonly pack: number;
  /** The index entries to look at; undefined for all, and for the pack itself. */
  readonly only: SharedArrayBuffer | undefined;
}

export interface RangesRequest {
  readonly space: number;
  readonly archive: Archive;
}

export class VerifyThread {
  readonly #env: CheckEnvironment;
  #memory: { input: Area; records: RecordCheck } | undefined;
  #check: PackCheck | undefined;
  readonly #walks = new Map<number, ArchiveDamageFinder>();

  constructor(env: CheckEnvironment) {
    this.#env = env;
  }

  handlers(): Handlers {
    return {
      'verify.startPack': ({ pack, only }: PackStart) => {
        this.#memory ??= { input: createInput(), records: new RecordCheck(this.#env.source.codec(PLAIN_SPACE)) };
        const wanted = only === undefined ? undefined : new EntrySet(only);
        this.#check = new PackCheck(this.#env, pack, wanted, this.#memory.records, this.#memory.input);
      },
      'verify.step': (budgetBytes: number): PackProgress => {
        if (this.#check === undefined) throw new Error('no pack is being verified in this thread');
        return this.#check.step(budgetBytes);
      },
      'verify.ranges': ({ space, archive }: RangesRequest): DamagedRange[] => this.#walk(space).ranges(archive),
      'verify.files': ({ space, archive }: RangesRequest): TreeDamage | undefined => this.#walk(space).files(archive),
      'verify.end': () => {
        this.#memory = undefined;
        this.#check = undefined;
        this.#walks.clear();
      },
    };
  }

  #walk(space: number): ArchiveDamageFinder {
    const { locator, source } = this.#env;
    const known = this.#walks.get(space);
    if (known !== undefined) return known;
    const walk = damageFinder(locator, source, space);
    this.#walks.set(space, walk);
    return walk;
  }
}
