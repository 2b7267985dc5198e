// Reads records for a client elsewhere, as they lie in packs: what it may read is a set of index entries, and whatever a record names that was
// served belongs to that set from then on (rule S6). Neighbours come with one read.
import { ID_BYTES, type ObjectId } from '../../chunker/object.ts';
import { readRecordHeader, recordId, recordIsWhole, recordRefs } from '../../chunker/record.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { EntrySet } from '../index/entry-set.ts';
import { continuesRun, type Place, SLACK_BYTES } from '../neighbours.ts';
import type { IndexLocator, ObjectSource } from '../object-source.ts';
import { markCopies } from './scope-walk.ts';

/** Before each record stands its length. */
const LENGTH_BYTES = 4;

export interface ReaderEnvironment {
  readonly locator: IndexLocator;
  readonly source: ObjectSource;
  /** Memory of an arena, for one turn of the thread. */
  readonly readBuffer: Uint8Array;
}

/** Frames `u32 length, record` for the ids before `next`, length 0 where there is nothing to be had. */
export interface RecordFrames {
  readonly bytes: Buffer;
  readonly next: number;
}

/** The copy of an id that is to be read: undefined when there is none, or it may not be read. */
interface Wanted {
  readonly entry: number;
  readonly isData: boolean;
  readonly place: Place;
}

export class RecordReader {
  readonly #env: ReaderEnvironment;
  readonly #space: number;
  readonly #readable: EntrySet;

  /** `readable` is shared by all threads of the session. */
  constructor(env: ReaderEnvironment, { space, readable }: { space: number; readable: EntrySet }) {
    this.#env = env;
    this.#space = space;
    this.#readable = readable;
  }

  /** Sets bit `place % 8` of byte `place / 8` of `bits` for each id, of those from `first` to `end`, that may be read. */
  markKnown(ids: Uint8Array, first: number, end: number, bits: Uint8Array): void {
    for (let place = first; place < end; place++) {
      if (this.#find(ids, place * ID_BYTES) === undefined) continue;
      bits[place >> 3] = (bits[place >> 3] as number) | (1 << (place & 7));
    }
  }

  /** Reads on from the id at `first`: at least one, and about `maxBytes` at most. */
  read(ids: Uint8Array, first: number, maxBytes: number): RecordFrames {
    const wanted = this.#plan(ids, first, maxBytes);
    const frames = new Frames(wanted);
    for (let place = 0; place < wanted.length; ) place += this.#readRun(ids, first + place, wanted, place, frames);
    return { bytes: frames.bytes, next: first + wanted.length };
  }

  /** Ends before an id that may not be read yet, when what is read before it may name it. */
  #plan(ids: Uint8Array, first: number, maxBytes: number): (Wanted | undefined)[] {
    const count = ids.length / ID_BYTES;
    const plan: (Wanted | undefined)[] = [];
    let names = false;
    for (let place = first, bytes = 0; place < count && (plan.length === 0 || bytes < maxBytes); place++) {
      const wanted = this.#find(ids, place * ID_BYTES);
      if (wanted === undefined && names) break;
      plan.push(wanted);
      names ||= wanted !== undefined && !wanted.isData;
      bytes += LENGTH_BYTES + (wanted?.place.length ?? 0);
    }
    return plan;
  }

  /** Any copy that may be read opens the object; which one is read is another question. */
  #find(ids: Uint8Array, at: number): Wanted | undefined {
    const { locator } = this.#env;
    const { index } = locator;
    let isOpen = false;
    let best = -1;
    for (let entry = index.first(this.#space, ids, at); entry >= 0; entry = index.next()) {
      isOpen ||= this.#readable.has(entry);
      if (best < 0 && locator.isReadable(entry) && locator.isWritten(entry)) best = entry;
    }
    if (!isOpen || best < 0) return undefined;
    const place = { pack: index.pack(best), offset: index.offset(best), length: index.length(best) };
    return { entry: best, isData: locator.isData(best), place };
  }

  /** Reads what `wanted` has at `at` and, with it, neighbours behind it; returns how many. */
  #readRun(ids: Uint8Array, id: number, wanted: (Wanted | undefined)[], at: number, frames: Frames): number {
    const start = wanted[at];
    if (start === undefined) {
      frames.add(undefined);
      return 1;
    }
    const { readBuffer, source } = this.#env;
    const most = readBuffer.length - SLACK_BYTES;
    if (!start.isData || start.place.length > most) {
      frames.add(this.#checked(ids, id, () => this.#readAlone(start.place)));
      return 1;
    }
    let last = at + 1;
    let end = start.place.offset + start.place.length;
    for (
      let next = wanted[last];
      next?.isData && continuesRun(start.place, end, next.place, most);
      next = wanted[last]
    ) {
      end = next.place.offset + next.place.length;
      last++;
    }
    const { pack, offset } = start.place;
    let shift: number | undefined;
    try {
      shift = source.packs.readRange(pack, offset, end - offset, readBuffer);
    } catch (error) {
      // Each is read alone then, with all its copies.
      if (!(error instanceof HoldfastError)) throw error;
    }
    for (let place = at; place < last; place++) {
      const { place: where } = wanted[place] as Wanted;
      const from = (shift ?? 0) + where.offset - offset;
      const record = shift === undefined ? undefined : readBuffer.subarray(from, from + where.length);
      frames.add(this.#checked(ids, id + place - at, () => record));
    }
    return last - at;
  }

  #readAlone({ pack, offset, length }: Place): Uint8Array | undefined {
    try {
      return this.#env.source.packs.read(pack, offset, length);
    } catch (error) {
      if (error instanceof HoldfastError) return undefined;
      throw error;
    }
  }

  /** The record when it is whole and of this id, else a good one of another copy; what it names may be read from now on. */
  #checked(ids: Uint8Array, place: number, read: () => Uint8Array | undefined): Uint8Array | undefined {
    const id = Buffer.from(ids.subarray(place * ID_BYTES, (place + 1) * ID_BYTES)) as ObjectId;
    let record = read();
    if (record === undefined || !recordIsWhole(record) || !recordId(record).equals(id)) record = this.#goodCopy(id);
    const header = record === undefined ? undefined : readRecordHeader(record);
    if (record === undefined || header === undefined) return undefined;
    const refs = recordRefs(record, header);
    for (let at = 0; at < refs.length; at += ID_BYTES)
      markCopies(this.#env.locator, this.#space, refs, at, this.#readable);
    return record;
  }

  #goodCopy(id: ObjectId): Uint8Array | undefined {
    try {
      return this.#env.source.record(this.#space, id);
    } catch (error) {
      if (error instanceof HoldfastError && ['object-missing', 'object-damaged'].includes(error.code)) return undefined;
      throw error;
    }
  }
}

/** Records one after the other, each with its length before it, in memory that nobody else uses. */
class Frames {
  #bytes: Buffer;
  #end = 0;

  constructor(wanted: readonly (Wanted | undefined)[]) {
    this.#bytes = Buffer.allocUnsafe(wanted.reduce((sum, each) => sum + LENGTH_BYTES + (each?.place.length ?? 0), 0));
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#end);
  }

  add(record: Uint8Array | undefined): void {
    const length = record?.length ?? 0;
    // Another copy than the one that was planned may be longer, when it was encrypted another time.
    const missing = this.#end + LENGTH_BYTES + length - this.#bytes.length;
    if (missing > 0) this.#bytes = Buffer.concat([this.#bytes, Buffer.allocUnsafe(missing)]);
    this.#bytes.writeUInt32LE(length, this.#end);
    if (record !== undefined) this.#bytes.set(record, this.#end + LENGTH_BYTES);
    this.#end += LENGTH_BYTES + length;
  }
}
