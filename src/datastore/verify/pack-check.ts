// Reads one sealed pack from its start to its end, in steps, and checks header, frames, records and footer against each other. A record
// counts as bad only after a second read, and its copy is quarantined then. A pack that garbage collection drops meanwhile is no damage.
import { closeSync, fstatSync, openSync } from 'node:fs';
import { type ObjectId, PLAIN_SPACE } from '../../chunker/object.ts';
import { type Area, Arena } from '../../util/arena.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { entryAt } from '../gc/rewrite-packs.ts';
import type { EntrySet } from '../index/entry-set.ts';
import type { Layout } from '../layout.ts';
import type { IndexLocator, ObjectSource } from '../object-source.ts';
import {
  FRAME_HEADER_BYTES,
  FrameCodec,
  FrameType,
  PACK_HEADER_BYTES,
  readFrame,
  readTableEntry,
  TABLE_ENTRY_BYTES,
  type TableEntry,
} from '../packs/pack-format.ts';
import { isMediumError } from '../packs/pack-reader.ts';
import { readPackHeader, readSealedPack } from '../packs/pack-scan.ts';
import { PackState, type PackTable } from '../packs/pack-table.ts';
import { gapHolds } from './gap-check.ts';
import { indexedTable } from './indexed-table.ts';
import type { RecordCheck } from './record-check.ts';

/** Most bytes of one read past the page cache. */
const INPUT_BYTES = 4 * 1024 * 1024;
/** With a selection of records, a gap this small is read over. */
const GAP_BYTES = 64 * 1024;
/** A direct read begins and ends at block boundaries. */
const SLACK_BYTES = 8192;

export interface CheckEnvironment {
  readonly layout: Layout;
  readonly packs: PackTable;
  readonly locator: IndexLocator;
  readonly source: ObjectSource;
}

/** A record that stayed bad; `isLost` when its object has no other good copy. */
export interface BadCopy {
  readonly space: number;
  readonly id: string;
  readonly isLost: boolean;
}

/** What one step found. */
export interface PackProgress {
  readonly isDone: boolean;
  /** Garbage collection dropped the pack: what was found in it counts no more. */
  readonly isGone: boolean;
  /** How far into the file the check has come. */
  readonly position: number;
  readonly recordsRead: number;
  /** Of them those whose checksum alone could be checked: they are encrypted. */
  readonly recordsEncrypted: number;
  readonly bytesRead: number;
  readonly bad: readonly BadCopy[];
  /** What is wrong with the pack itself, beside its records. */
  readonly problems: readonly string[];
}

/** Memory for direct reads; one for all packs of a thread's verification. */
export function createInput(): Area {
  return new Arena(INPUT_BYTES + SLACK_BYTES + 2 * 65536).allocate(INPUT_BYTES + SLACK_BYTES);
}

export class PackCheck {
  readonly #env: CheckEnvironment;
  readonly #pack: number;
  readonly #only: EntrySet | undefined;
  readonly #records: RecordCheck;
  readonly #input: Area;
  /** Undefined when header or footer are damaged: then there are no frames to rely on. */
  readonly #codec: FrameCodec | undefined;
  readonly #salt: Buffer | undefined;
  readonly #table: Buffer;
  /** Where the records end: the footer, or the end of the file. */
  readonly #end: number;
  #next = 0;
  #position = PACK_HEADER_BYTES;
  #window = { start: 0, end: 0, shift: 0 };
  /** Up to here a direct read failed: record by record. */
  #slowUntil = 0;
  #recordsRead = 0;
  #recordsEncrypted = 0;
  #bytesRead = 0;
  #bad: BadCopy[] = [];
  #problems: string[] = [];

  /** With `only`, the records of these index entries alone; frames and footer are left out then. */
  constructor(env: CheckEnvironment, pack: number, only: EntrySet | undefined, records: RecordCheck, input: Area) {
    this.#env = env;
    this.#pack = pack;
    this.#only = only;
    this.#records = records;
    this.#input = input;
    const { table, end, salt } = this.#open();
    this.#table = table;
    this.#end = end;
    this.#salt = salt;
    this.#codec = salt === undefined ? undefined : new FrameCodec(salt);
  }

  /** Checks on until about `budgetBytes` of the file are done. */
  step(budgetBytes: number): PackProgress {
    if (this.#only !== undefined && this.#env.packs.state(this.#pack) !== PackState.sealed)
      this.#checkElsewhere(this.#only);
    const until = this.#position + budgetBytes;
    while (!this.#isGone && this.#next < this.#table.length && this.#position < until) {
      const entry = readTableEntry(this.#table, this.#next);
      if (this.#isWanted(entry)) this.#checkRecord(entry);
      this.#next += TABLE_ENTRY_BYTES;
    }
    const isDone = this.#next >= this.#table.length;
    if (isDone && !this.#isGone) this.#checkGap(this.#end);
    const isGone = this.#isGone;
    const progress: PackProgress = {
      isDone: isDone || isGone,
      isGone,
      position: this.#position,
      recordsRead: this.#recordsRead,
      recordsEncrypted: this.#recordsEncrypted,
      bytesRead: this.#bytesRead,
      bad: this.#bad,
      // What follows from a file that is gone is no damage.
      problems: isGone ? [] : this.#problems,
    };
    this.#recordsRead = 0;
    this.#recordsEncrypted = 0;
    this.#bytesRead = 0;
    this.#bad = [];
    this.#problems = [];
    return progress;
  }

  get #isGone(): boolean {
    return this.#env.packs.state(this.#pack) === PackState.dropped;
  }

  /** The footer's table, or what the index knows of the pack when the footer cannot be relied on. */
  #open(): { table: Buffer; end: number; salt: Buffer | undefined } {
    const { layout, packs, locator } = this.#env;
    const packId = packs.packId(this.#pack);
    let fd: number | undefined;
    let end = 0;
    try {
      fd = openSync(layout.sealedPack(packId), 'r');
      end = fstatSync(fd).size;
      const whole = readSealedPack(fd);
      if (whole?.header.packId.equals(packId)) {
        this.#bytesRead += whole.fileLength - whole.footerOffset + PACK_HEADER_BYTES;
        return { table: whole.table, end: whole.footerOffset, salt: whole.header.salt };
      }
      const header = readPackHeader(fd);
      const isOurs = header?.packId.equals(packId) ?? false;
      this.#problems.push(isOurs ? 'its footer is damaged, or it was cut off' : 'its header is damaged');
    } catch (error) {
      const isAway = systemCode(error) === 'ENOENT';
      if (!isAway && !isMediumError(error)) throw error;
      this.#problems.push(isAway ? 'it is gone from packs/' : `it cannot be read: ${(error as Error).message}`);
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
    return { table: indexedTable(locator.index, this.#pack), end, salt: undefined };
  }

  #isWanted(entry: TableEntry): boolean {
    return this.#only === undefined || this.#only.has(entryAt(this.#env.locator, entry, this.#pack));
  }

  #checkRecord(entry: TableEntry): void {
    const start = entry.offset - FRAME_HEADER_BYTES;
    const length = entry.length + FRAME_HEADER_BYTES;
    this.#checkGap(start);
    this.#count(entry);
    this.#bytesRead += length;
    this.#position = entry.offset + entry.length;
    const first = this.#look(entry, this.#direct(start, length) ?? this.#read(start, length));
    if (first.recordHolds && first.frameHolds) return;
    const second = this.#look(entry, this.#read(start, length));
    if (!first.recordHolds && !second.recordHolds) this.#takeBad(entry);
    else if (!first.frameHolds && !second.frameHolds)
      this.#problems.push(`the frame at byte ${start} is damaged, the record in it is not`);
  }

  #count({ space }: TableEntry): void {
    this.#recordsRead++;
    if (space !== PLAIN_SPACE) this.#recordsEncrypted++;
  }

  #look(entry: TableEntry, bytes: Uint8Array | undefined): { recordHolds: boolean; frameHolds: boolean } {
    if (bytes === undefined) return { recordHolds: false, frameHolds: false };
    const recordHolds = this.#records.holds(bytes.subarray(FRAME_HEADER_BYTES), entry);
    return { recordHolds, frameHolds: this.#only !== undefined || this.#frameHolds(entry, bytes) };
  }

  #frameHolds(entry: TableEntry, bytes: Uint8Array): boolean {
    if (this.#codec === undefined) return true;
    const frame = readFrame(Buffer.from(bytes.buffer, bytes.byteOffset, FRAME_HEADER_BYTES));
    return (
      frame?.type === FrameType.record &&
      frame.bodyLength === entry.length &&
      frame.space === entry.space &&
      this.#codec.check(bytes, entry.offset - FRAME_HEADER_BYTES, frame)
    );
  }

  #takeBad(entry: TableEntry): void {
    if (this.#isGone) return;
    const { locator } = this.#env;
    const copy = entryAt(locator, entry, this.#pack);
    if (copy >= 0) locator.quarantine(copy);
    this.#bad.push({ space: entry.space, id: entry.id.toString('hex'), isLost: !this.#canGet(entry.space, entry.id) });
  }

  /** Reads an object by whatever copy is good; those that are not are quarantined on the way. */
  #canGet(space: number, id: Uint8Array): boolean {
    const { locator, source } = this.#env;
    if (locator.readable(space, id) < 0) return false;
    try {
      source.refs(space, Buffer.from(id) as ObjectId);
      return true;
    } catch (error) {
      if (error instanceof HoldfastError) return false;
      throw error;
    }
  }

  /** The pack is still being written, or its records were moved: what is wanted of it is read wherever it is now. */
  #checkElsewhere(only: EntrySet): void {
    const { index } = this.#env.locator;
    const table = indexedTable(index, this.#pack);
    for (let at = 0; at < table.length; at += TABLE_ENTRY_BYTES) {
      const entry = readTableEntry(table, at);
      if (entry.offset < this.#position || !only.has(entryAt(this.#env.locator, entry, this.#pack))) continue;
      this.#count(entry);
      this.#bytesRead += entry.length;
      if (!this.#canGet(entry.space, entry.id))
        this.#bad.push({ space: entry.space, id: entry.id.toString('hex'), isLost: true });
    }
    this.#problems = [];
    this.#next = this.#table.length;
  }

  /** Everything between two records is pads and checkpoints. */
  #checkGap(until: number): void {
    const start = this.#position;
    if (this.#only !== undefined || this.#salt === undefined || until <= start) return;
    this.#position = until;
    const gap = { start, end: until, salt: this.#salt };
    for (let attempt = 0; attempt < 2; attempt++) if (gapHolds(gap, this.#read(start, until - start))) return;
    this.#problems.push(`bytes ${start} to ${until}, between records, are damaged`);
  }

  /** Bytes out of a large read past the page cache; undefined when they cannot be had so. */
  #direct(offset: number, length: number): Uint8Array | undefined {
    const { bytes } = this.#input;
    let { start, end, shift } = this.#window;
    if (offset < start || offset + length > end) {
      if (length > INPUT_BYTES || offset < this.#slowUntil) return undefined;
      start = offset;
      end = Math.min(offset + INPUT_BYTES, this.#runEnd(offset, offset + length));
      try {
        shift = this.#env.source.packs.readRange(this.#pack, start, end - start, bytes);
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        this.#slowUntil = end;
        this.#window = { start: 0, end: 0, shift: 0 };
        return undefined;
      }
      this.#window = { start, end, shift };
    }
    return bytes.subarray(shift + offset - start, shift + offset - start + length);
  }

  /** How far it pays to read from `offset` on. */
  #runEnd(offset: number, atLeast: number): number {
    if (this.#only === undefined) return Math.max(atLeast, this.#end);
    let end = atLeast;
    for (let at = this.#next + TABLE_ENTRY_BYTES; at < this.#table.length; at += TABLE_ENTRY_BYTES) {
      const entry = readTableEntry(this.#table, at);
      if (entry.offset - end > GAP_BYTES || entry.offset + entry.length - offset > INPUT_BYTES) break;
      if (this.#isWanted(entry)) end = entry.offset + entry.length;
    }
    return end;
  }

  /** Bytes through the page cache; undefined when they cannot be read. */
  #read(offset: number, length: number): Buffer | undefined {
    try {
      return this.#env.source.packs.read(this.#pack, offset, length);
    } catch (error) {
      if (error instanceof HoldfastError) return undefined;
      throw error;
    }
  }
}
