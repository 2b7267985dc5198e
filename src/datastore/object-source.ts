// Finds and reads objects by id for one thread: picks a usable copy, checks it, reads a bad one a second time, quarantines it
// when it stays bad, and goes on to the next copy.
import { ID_BYTES, Kind, type ObjectId, type StoredObject } from '../chunker/object.ts';
import { IdHasher } from '../chunker/object-id.ts';
import { openRecord, recordId, recordIsWhole } from '../chunker/record.ts';
import { Decompressor } from '../chunker/zstd.ts';
import { HoldfastError } from '../util/errors.ts';
import { FLAG_DATA, FLAG_QUARANTINED } from './index/index-entry.ts';
import type { ObjectIndex } from './index/object-index.ts';
import type { PackReader } from './packs/pack-reader.ts';
import { PackState, type PackTable } from './packs/pack-table.ts';

/** Where records are found: the in-memory index, or the snapshot on disk for short commands. */
export interface ObjectLocator {
  /** Entry numbers of (space, id) whose copy may be read, best first. */
  copies(space: number, id: Uint8Array): readonly number[];
  pack(entry: number): number;
  offset(entry: number): number;
  length(entry: number): number;
  quarantine(entry: number): void;
}

/** Looks in the shared index and leaves out withdrawn and quarantined copies. */
export class IndexLocator implements ObjectLocator {
  readonly index: ObjectIndex;
  readonly #packs: PackTable;
  readonly #report: (entry: number) => void;

  /** `report` is told of each copy that is newly quarantined. */
  constructor(index: ObjectIndex, packs: PackTable, report: (entry: number) => void) {
    this.index = index;
    this.#packs = packs;
    this.#report = report;
  }

  copies(space: number, id: Uint8Array): number[] {
    const found: number[] = [];
    for (let entry = this.index.first(space, id); entry >= 0; entry = this.index.next()) {
      if (this.isReadable(entry)) found.push(entry);
    }
    return found;
  }

  /** The first readable copy, or -1. */
  readable(space: number, id: Uint8Array, at = 0): number {
    for (let entry = this.index.first(space, id, at); entry >= 0; entry = this.index.next()) {
      if (this.isReadable(entry)) return entry;
    }
    return -1;
  }

  /**
   * The first copy that a new reference may rely on (rule D4: not condemned, not quarantined), or -1. `mark` is called with a copy
   * before its pack's flag is looked at: garbage collection sets the flag first and looks at marks then, so one sees the other.
   */
  reliable(space: number, id: Uint8Array, mark: (entry: number) => void = () => {}): number {
    for (let entry = this.index.first(space, id); entry >= 0; entry = this.index.next()) {
      const pack = this.index.pack(entry);
      const state = this.#packs.state(pack);
      if (this.index.has(entry, FLAG_QUARANTINED) || state === PackState.condemned || state === PackState.dropped)
        continue;
      mark(entry);
      if (!this.#packs.isFlagged(pack)) return entry;
    }
    return -1;
  }

  /** Whether the copy survives a power cut, is not known to be bad, and its pack is not about to go (rules D4, G4). */
  isKept(entry: number): boolean {
    const pack = this.index.pack(entry);
    return (
      !this.index.has(entry, FLAG_QUARANTINED) &&
      this.#packs.state(pack) === PackState.sealed &&
      !this.#packs.isFlagged(pack) &&
      this.isDurable(entry)
    );
  }

  isDurable(entry: number): boolean {
    return this.#packs.isDurable(this.index.pack(entry), this.index.offset(entry) + this.index.length(entry));
  }

  isReadable(entry: number): boolean {
    if (this.index.has(entry, FLAG_QUARANTINED)) return false;
    const state = this.#packs.state(this.index.pack(entry));
    return state !== PackState.dropped && (state !== PackState.condemned || this.isDurable(entry));
  }

  isData(entry: number): boolean {
    return this.index.has(entry, FLAG_DATA);
  }

  pack(entry: number): number {
    return this.index.pack(entry);
  }

  offset(entry: number): number {
    return this.index.offset(entry);
  }

  length(entry: number): number {
    return this.index.length(entry);
  }

  quarantine(entry: number): void {
    if (this.index.has(entry, FLAG_QUARANTINED)) return;
    this.index.quarantine(entry);
    this.#report(entry);
  }
}

export class ObjectSource {
  readonly hasher = new IdHasher();
  readonly decompressor = new Decompressor();
  readonly packs: PackReader;
  readonly locator: ObjectLocator;

  constructor(locator: ObjectLocator, packs: PackReader) {
    this.locator = locator;
    this.packs = packs;
  }

  /**
   * Reads and checks an object of space plain.
   * @throws `object-missing` when no copy is known, `object-damaged` when every copy is bad, system errors as they are.
   */
  get(space: number, id: ObjectId): StoredObject {
    let failure: unknown;
    for (const entry of this.locator.copies(space, id)) {
      for (let attempt = 0; attempt < 2; attempt++) {
        try {
          const record = this.packs.read(
            this.locator.pack(entry),
            this.locator.offset(entry),
            this.locator.length(entry),
          );
          return openRecord(record, id, this.hasher, this.decompressor);
        } catch (error) {
          // Trouble of this process is no reason to give up a copy.
          if (!(error instanceof HoldfastError)) throw error;
          failure = error;
        }
      }
      this.locator.quarantine(entry);
    }
    if (failure !== undefined) throw failure;
    throw missing(id);
  }

  /** Whether the record of an entry is there and whole; it may be quarantined. */
  isGood(entry: number, id: Uint8Array): boolean {
    try {
      const record = this.packs.read(this.locator.pack(entry), this.locator.offset(entry), this.locator.length(entry));
      return recordIsWhole(record) && recordId(record).equals(id);
    } catch (error) {
      if (error instanceof HoldfastError) return false;
      throw error;
    }
  }
}

export function missing(id: Uint8Array): HoldfastError {
  const hex = Buffer.from(id).toString('hex');
  return new HoldfastError('object-missing', `object ${hex.slice(0, 16)}… is not in this datastore`, {
    data: { id: hex },
  });
}

/** The ids of a refs buffer, one by one. */
export function* eachRef(refs: Uint8Array): Generator<ObjectId> {
  for (let at = 0; at < refs.length; at += ID_BYTES) yield Buffer.from(refs.subarray(at, at + ID_BYTES)) as ObjectId;
}

/** Whether objects of this kind have refs that a walk follows. */
export function isMetadata(kind: number): boolean {
  return kind !== Kind.data;
}
