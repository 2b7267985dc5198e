// Finds objects for commands that look up few: in the snapshot on disk, and in a small index of what the snapshot does not have.
import type { ObjectLocator } from '../object-source.ts';
import { LENGTH_MASK } from './index-entry.ts';
import type { ObjectIndex } from './object-index.ts';
import type { IndexSnapshot, SnapshotEntry } from './snapshot-reader.ts';

/** Numbers from here on mean places in the list of what was found on disk last. */
const ON_DISK = 2 ** 31;

export class DiskLocator implements ObjectLocator {
  readonly #snapshot: IndexSnapshot;
  readonly #fresh: ObjectIndex;
  readonly #bad = new Set<string>();
  #found: readonly SnapshotEntry[] = [];

  constructor(snapshot: IndexSnapshot, fresh: ObjectIndex) {
    this.#snapshot = snapshot;
    this.#fresh = fresh;
  }

  /** The numbers are valid until the next call. */
  copies(space: number, id: Uint8Array): number[] {
    const numbers: number[] = [];
    for (let entry = this.#fresh.first(space, id); entry >= 0; entry = this.#fresh.next()) {
      if (!this.#bad.has(this.#place(entry))) numbers.push(entry);
    }
    // A bucket that fails its check counts as empty here: the caller then says which object is missing, and a full open
    // ignores the whole snapshot.
    this.#found = this.#snapshot.find(space, id) ?? [];
    this.#found.forEach((_, place) => {
      if (!this.#bad.has(this.#place(ON_DISK + place))) numbers.push(ON_DISK + place);
    });
    return numbers;
  }

  pack(entry: number): number {
    return entry < ON_DISK ? this.#fresh.pack(entry) : this.#disk(entry).pack;
  }

  offset(entry: number): number {
    return entry < ON_DISK ? this.#fresh.offset(entry) : this.#disk(entry).offset;
  }

  length(entry: number): number {
    return entry < ON_DISK ? this.#fresh.length(entry) : this.#disk(entry).lengthAndFlags & LENGTH_MASK;
  }

  quarantine(entry: number): void {
    this.#bad.add(this.#place(entry));
  }

  #disk(entry: number): SnapshotEntry {
    return this.#found[entry - ON_DISK] as SnapshotEntry;
  }

  #place(entry: number): string {
    return `${this.pack(entry)}:${this.offset(entry)}`;
  }
}
