// Copies of objects that failed two reads: remembered over restarts, counted as unknown until a good copy is stored.
// `since` lets a commit see what was found bad while its session ran (rule S5).
import { Quarantine } from '../schema/state-files.ts';
import { readIfPresent, writeFileAtomic } from '../util/atomic-file.ts';
import { parseStateFile } from '../util/json-file.ts';
import type { ObjectIndex } from './index/object-index.ts';
import type { Layout } from './layout.ts';
import type { PackTable } from './packs/pack-table.ts';

export class QuarantineList {
  readonly #layout: Layout;
  readonly #index: ObjectIndex;
  readonly #packs: PackTable;
  #copies: Quarantine['copies'] = [];
  #isMissing = false;
  #isExpected = false;
  #writing: Promise<void> = Promise.resolve();
  #isWaiting = false;
  #failure: unknown;

  private constructor(layout: Layout, index: ObjectIndex, packs: PackTable) {
    this.#layout = layout;
    this.#index = index;
    this.#packs = packs;
  }

  /** Reads the list and marks the copies in the index. Copies whose pack is gone are forgotten. */
  static async load(layout: Layout, index: ObjectIndex, packs: PackTable): Promise<QuarantineList> {
    const list = new QuarantineList(layout, index, packs);
    const text = await readIfPresent(layout.quarantine);
    const { copies, missing } =
      text === undefined ? { copies: [] } : parseStateFile(layout.quarantine, text, Quarantine);
    list.#isMissing = missing === true;
    for (const copy of copies) {
      const entry = list.#entryOf(copy);
      if (entry < 0) continue;
      index.quarantine(entry);
      list.#copies.push(copy);
    }
    return list;
  }

  /** How many copies were quarantined so far: a mark for `hasGrownSince`. */
  get count(): number {
    return this.#copies.length;
  }

  /** Notes a copy that a thread has just quarantined; it is durable after `flush`. */
  add(entry: number): void {
    this.#copies.push({
      id: this.#index.id(entry).toString('hex'),
      space: this.#index.space(entry),
      pack: this.#packs.packId(this.#index.pack(entry)).toString('hex'),
      offset: this.#index.offset(entry),
    });
    this.#write();
  }

  /** Lets copies go that are good again, as after a disk's cable was mended; durable after `flush`. Returns how many. */
  recheck(isGood: (entry: number) => boolean): number {
    const bad = this.#copies.filter((copy) => {
      const entry = this.#entryOf(copy);
      if (entry < 0) return false;
      if (!isGood(entry)) return true;
      this.#index.release(entry);
      return false;
    });
    const released = this.#copies.length - bad.length;
    this.#copies = bad;
    if (released > 0) this.#write();
    return released;
  }

  /** Whether a snapshot may have damage: bases are looked at only then. */
  get knowsOfDamage(): boolean {
    return this.#isMissing || this.#isExpected || this.#copies.length > 0;
  }

  /** Ids (as in pack files) of the packs that hold a quarantined copy. */
  packsConcerned(): Set<string> {
    return new Set(this.#copies.map((copy) => copy.pack));
  }

  /** Until this process ends, bases are looked at. */
  expectMissing(): void {
    this.#isExpected = true;
  }

  /** Notes that snapshots miss objects without any copy, or that they do no longer; durable after `flush`. */
  setMissing(isMissing: boolean): void {
    if (isMissing === this.#isMissing) return;
    this.#isMissing = isMissing;
    this.#write();
  }

  /** Waits until the list on disk is current. */
  async flush(): Promise<void> {
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** One write at a time, and one that waits takes along whatever is noted until it begins: a pack may have 65,536 bad records. */
  #write(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#writing = this.#writing
      .then(() => {
        this.#isWaiting = false;
        const state: Quarantine = { copies: this.#copies, ...(this.#isMissing ? { missing: true } : {}) };
        return writeFileAtomic(this.#layout.quarantine, `${JSON.stringify(state)}\n`);
      })
      .catch((error: unknown) => {
        this.#failure = error;
      });
  }

  /** The entry of a listed copy; -1 when its pack is gone. */
  #entryOf(copy: Quarantine['copies'][number]): number {
    const id = Buffer.from(copy.id, 'hex');
    for (let entry = this.#index.first(copy.space, id); entry >= 0; entry = this.#index.next()) {
      const pack = this.#packs.packId(this.#index.pack(entry)).toString('hex');
      if (this.#index.offset(entry) === copy.offset && pack === copy.pack) return entry;
    }
    return -1;
  }
}
