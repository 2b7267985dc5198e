// Finds and reads objects by id for one thread: picks a usable copy, checks it, reads a bad one a second time, quarantines it
// when it stays bad, and goes on to the next copy.
import { createCodec } from '../chunker/create-codec.ts';
import { ID_BYTES, type ObjectId, PLAIN_SPACE, type StoredObject } from '../chunker/object.ts';
import type { ObjectCodec, ObjectKey } from '../chunker/object-codec.ts';
import { damagedRecord, readRecordHeader, recordId, recordIsWhole, recordRefs } from '../chunker/record.ts';
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
      if (this.isReadable(entry) && this.isWritten(entry)) found.push(entry);
    }
    return found;
  }

  /** Whether the copy is in its file, and no longer in the buffer of the thread that writes the pack. */
  isWritten(entry: number): boolean {
    return this.index.offset(entry) + this.index.length(entry) <= this.#packs.writtenEnd(this.index.pack(entry));
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

/** What can be known of any object, also without its space's key. */
export interface ObjectRefs {
  readonly kind: number;
  /** Ids one after the other. */
  readonly refs: Uint8Array;
  /** Undefined where only the key shows it. */
  readonly payload: Uint8Array | undefined;
}

export class ObjectSource {
  readonly packs: PackReader;
  readonly locator: ObjectLocator;
  readonly #codecs = new Map<number, ObjectCodec>([[PLAIN_SPACE, createCodec(undefined)]]);
  readonly #fingerprintOf: (space: number) => string | undefined;

  /** `fingerprintOf` names the key of a space in errors. */
  constructor(
    locator: ObjectLocator,
    packs: PackReader,
    fingerprintOf: (space: number) => string | undefined = () => undefined,
  ) {
    this.locator = locator;
    this.packs = packs;
    this.#fingerprintOf = fingerprintOf;
  }

  /** Makes the objects of an encrypted space readable in this thread. */
  unlock(space: number, key: ObjectKey): void {
    if (space !== PLAIN_SPACE && !this.#codecs.has(space)) this.#codecs.set(space, createCodec(key));
  }

  /** Whether this thread can read the payloads of a space. */
  canOpen(space: number): boolean {
    return this.#codecs.has(space);
  }

  /** @throws `key-missing` when the space is encrypted and its key is not here. */
  codec(space: number): ObjectCodec {
    const codec = this.#codecs.get(space);
    if (codec === undefined) throw keyMissing(this.#fingerprintOf(space));
    return codec;
  }

  /**
   * Reads an object and checks it against its id.
   * @throws `object-missing` when no copy is known, `object-damaged` when every copy is bad, `key-missing`, system errors as they are.
   */
  get(space: number, id: ObjectId): StoredObject {
    const codec = this.codec(space);
    return this.#read(space, id, (record) => codec.open(record, id));
  }

  /**
   * What an object names, for walks that need no key. In space plain it is checked against its id; elsewhere its record's checksum is, and
   * the word of whoever has the key is taken for the rest.
   * @throws `object-missing`, `object-damaged` as `get`.
   */
  refs(space: number, id: ObjectId): ObjectRefs {
    return space === PLAIN_SPACE ? this.get(space, id) : this.#read(space, id, (record) => claimedRefs(record, id));
  }

  /** The record of an object, whole and of this id; decoded by whoever asked. @throws `object-missing`, `object-damaged`. */
  record(space: number, id: ObjectId): Buffer {
    return this.#read(space, id, (record) => {
      claimedRefs(record, id);
      return record;
    });
  }

  /** The first copy that `check` takes; what it refuses twice is quarantined. */
  #read<Result>(space: number, id: ObjectId, check: (record: Buffer) => Result): Result {
    let failure: unknown;
    for (const entry of this.locator.copies(space, id)) {
      for (let attempt = 0; attempt < 2; attempt++) {
        try {
          const record = this.packs.read(
            this.locator.pack(entry),
            this.locator.offset(entry),
            this.locator.length(entry),
          );
          return check(record);
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

function claimedRefs(record: Buffer, id: Uint8Array): ObjectRefs {
  const header = readRecordHeader(record);
  if (header === undefined || !recordIsWhole(record)) throw damagedRecord(record, 'its checksum does not hold');
  if (!recordId(record).equals(id)) throw damagedRecord(record, `it stands where ${hexOf(id)}… should be`);
  return { kind: header.kind, refs: Buffer.from(recordRefs(record, header)), payload: undefined };
}

/** The error of whoever needs a key that is not here. `fingerprint` is undefined when nobody can say which. */
export function keyMissing(fingerprint: string | undefined): HoldfastError {
  const which = fingerprint === undefined ? 'a key that this datastore cannot name' : `key ${fingerprint.slice(0, 16)}`;
  return new HoldfastError('key-missing', `this snapshot is encrypted with ${which}; give --keyfile`, {
    data: fingerprint === undefined ? {} : { fingerprint },
  });
}

const hexOf = (id: Uint8Array): string => Buffer.from(id).toString('hex').slice(0, 16);

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
