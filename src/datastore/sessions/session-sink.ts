// One thread's hand in a session: puts objects, answers what is known, reads what the session may read. Every ref of an object
// must be in scope or put by this session when it is put (rule S4); a put that hits marks and relies like a new one.
import { createCodec } from '../../chunker/create-codec.ts';
import { ID_BYTES, Kind, type ObjectId, type StoredObject } from '../../chunker/object.ts';
import type { ObjectCodec, ObjectKey } from '../../chunker/object-codec.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { EntrySet } from '../index/entry-set.ts';
import { FLAG_DATA } from '../index/index-entry.ts';
import type { Layout } from '../layout.ts';
import { Allowance, type AllowanceDescriptor } from '../limits/allowance.ts';
import { eachRef, type IndexLocator, missing, type ObjectSource } from '../object-source.ts';
import { PackKind } from '../packs/pack-format.ts';
import type { PackTable } from '../packs/pack-table.ts';
import { PackWriter } from '../packs/pack-writer.ts';
import type { WriteBuffers } from '../packs/write-buffers.ts';
import { type RecordCheck, requireSize } from './received-record.ts';
import { RecordReader } from './record-reader.ts';
import { markCopies, ScopeWalk } from './scope-walk.ts';
import { SessionMarks, type SessionMarksBuffers } from './session-marks.ts';
import { eachManifest, type SharedManifests } from './shared-manifests.ts';

/** What every thread is told when a session opens; structured-cloneable. */
export interface SessionDescriptor {
  readonly sessionId: string;
  readonly space: number;
  /** Of an encrypted space; undefined for space plain, and where only the client elsewhere has the key. A secret: never to be logged. */
  readonly key: ObjectKey | undefined;
  readonly marks: SessionMarksBuffers;
  /** Roots of the group's newest two snapshots, in hexadecimal. */
  readonly scopeRoots: readonly string[];
  /** The manifests that the owner had when the session opened; their roots belong to the scope too. */
  readonly scopeManifests: SharedManifests;
  readonly compressionLevel: number;
  /** Quotas and free space. */
  readonly allowance: AllowanceDescriptor;
  /** For a client elsewhere: what others have stored counts like what nobody has (rule S7). */
  readonly countsScopeOnly: boolean;
}

/** What a thread needs to write for any session. */
export interface SinkEnvironment {
  readonly layout: Layout;
  readonly packs: PackTable;
  readonly locator: IndexLocator;
  readonly source: ObjectSource;
  readonly buffers: WriteBuffers;
  /** The thread's whole memory, in which data objects lie when they are put. */
  readonly memory: Uint8Array;
  readonly epoch: number;
  readonly storeId: Buffer;
  /** What garbage collection must keep: every put adds to it (rule G2). */
  readonly live: EntrySet;
  readonly check: RecordCheck;
  /** Records are read into it, within one turn of the thread. */
  readonly readBuffer: Uint8Array;
}

export interface SinkCounters {
  objectsNew: number;
  objectsReused: number;
  /** Plain bytes of new objects. */
  bytesNew: number;
  /** Bytes of packs that were sealed; of records, where only the scope counts. */
  bytesStored: number;
}

const zeroCounters = (): SinkCounters => ({ objectsNew: 0, objectsReused: 0, bytesNew: 0, bytesStored: 0 });

const NO_REFS = new Uint8Array(0);

export class SessionSink {
  readonly #env: SinkEnvironment;
  readonly #descriptor: SessionDescriptor;
  readonly #marks: SessionMarks;
  /** Undefined when only the client has the key: then records come finished. */
  readonly #ownCodec: ObjectCodec | undefined;
  readonly #allowance: Allowance;
  readonly #markLive: (entry: number) => void;
  readonly #writers = new Map<number, PackWriter>();
  #counters: SinkCounters = zeroCounters();
  readonly #scopeRoots: string[];
  #scopeWalk: ScopeWalk | undefined;
  #found = new Int32Array(0);
  #reader: RecordReader | undefined;

  constructor(env: SinkEnvironment, descriptor: SessionDescriptor) {
    this.#env = env;
    this.#descriptor = descriptor;
    this.#marks = new SessionMarks(descriptor.marks);
    const { space, key, compressionLevel } = descriptor;
    if (key !== undefined) env.source.unlock(space, key);
    this.#ownCodec = env.source.canOpen(space) ? createCodec(key, compressionLevel) : undefined;
    this.#allowance = new Allowance(descriptor.allowance);
    this.#markLive = (entry) => void env.live.add(entry);
    this.#scopeRoots = [...descriptor.scopeRoots];
    for (const root of descriptor.scopeRoots) this.#markScope(Buffer.from(root, 'hex') as ObjectId);
  }

  /** Counters since the last call. */
  takeCounters(): SinkCounters {
    const counters = this.#counters;
    this.#counters = zeroCounters();
    return counters;
  }

  /** Puts the data object that lies in the thread's memory at `offset` (4 bytes before it are borrowed for the hash); the id is valid until the next call. */
  putData(offset: number, length: number): ObjectId {
    const id = this.#codec.dataId(this.#env.memory, offset, length);
    if (!this.#hit(id, length)) this.#store(Kind.data, id, NO_REFS, this.#env.memory.subarray(offset, offset + length));
    return id;
  }

  /**
   * Puts any object.
   * @throws `out-of-scope` when a ref is neither in scope nor put by this session, `too-large` past 16 MiB + 64 KiB.
   */
  put(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    requireSize(refs.length + payload.length);
    this.#requireKnown(refs);
    const id = this.#codec.id(kind, refs, payload);
    if (!this.#hit(id, payload.length)) this.#store(kind, id, refs, payload);
    return id;
  }

  /** Whether all of these ids, one after the other, are in scope or put by this session, and still readable. */
  knows(ids: Uint8Array): boolean {
    return this.#unknown(ids) < 0;
  }

  /**
   * Puts an object as the finished record of a client. In space plain its content is checked against its id; in any other space nobody can
   * do that here, and what it claims concerns that space alone.
   * @throws `object-damaged` when it is not a record as it should be, with its id in `data`; `out-of-scope`, `too-large` as `put`. Nothing
   * of it is kept then. The id is a view on the record.
   */
  putRecord(record: Uint8Array): ObjectId {
    const { space } = this.#descriptor;
    const { kind, id, refs, payloadBytes } = this.#env.check.check(record, space);
    this.#requireKnown(refs);
    if (this.#hit(id, payloadBytes, record.length)) return id;
    this.#allowance.requireRoom(record.length);
    const writer = this.#writer(kind === Kind.data ? PackKind.data : PackKind.metadata);
    const offset = writer.appendRecord(space, id, kind, record);
    this.#publish(writer, kind, id, offset, record.length, payloadBytes);
    return id;
  }

  /** The id that an object has in the session's space. @throws `key-missing`. */
  id(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    return this.#codec.id(kind, refs, payload);
  }

  /** Which of the ids are in scope or put by this session, and still readable. */
  have(ids: readonly ObjectId[]): boolean[] {
    return ids.map((id) => this.#isKnown(id, 0));
  }

  /** Goes on finding the whole scope for about so long; whether all of it is known. */
  prepare(budgetMs: number): boolean {
    if (!this.#marks.scopeIsComplete) {
      this.#scopeWalk ??= this.#startScopeWalk();
      if (!this.#scopeWalk.run(budgetMs)) return false;
      this.#marks.noteScopeIsComplete();
    }
    this.#scopeWalk = undefined;
    return true;
  }

  /** Sets bit `place % 8` of byte `place / 8` of `bits` for each id, of those from `first` to `end`, that `have` says true of. */
  markKnown(ids: Uint8Array, first: number, end: number, bits: Uint8Array): void {
    const part = ids.subarray(first * ID_BYTES, end * ID_BYTES);
    this.#lookUp(part);
    for (let place = first; place < end; place++) {
      const entry = this.#found[place - first] as number;
      if (entry < 0 || (!this.#isUsable(entry) && !this.#isMarked(ids, place * ID_BYTES))) continue;
      bits[place >> 3] = (bits[place >> 3] as number) | (1 << (place & 7));
    }
  }

  /** Reads records of the scope. */
  get reader(): RecordReader {
    const { space } = this.#descriptor;
    this.#reader ??= new RecordReader(this.#env, { space, readable: this.#marks.scope });
    return this.#reader;
  }

  /** Reads an object in scope. What it names becomes part of the scope that is known so far. */
  get(id: ObjectId): StoredObject {
    if (!this.#isKnown(id, 0)) throw missing(id);
    const object = this.#env.source.get(this.#descriptor.space, id);
    for (const ref of eachRef(object.refs)) this.#markScope(ref);
    return object;
  }

  /** Makes everything this thread appended to these packs durable. */
  barrier(packs: ReadonlySet<number>): void {
    for (const writer of this.#writers.values()) if (packs.has(writer.pack)) writer.barrier();
  }

  /** Lets other threads read what was put here. */
  flush(): void {
    for (const writer of this.#writers.values()) writer.flush();
  }

  /** Seals all packs of the session in this thread; the next put starts new ones. */
  seal(): void {
    for (const [kind, writer] of this.#writers) {
      this.#writers.delete(kind);
      this.#finish(writer);
    }
  }

  /** Lets go of everything without writing: the session failed. */
  close(): void {
    for (const writer of this.#writers.values()) {
      writer.abandon();
      this.#env.buffers.give(writer.buffer);
    }
    this.#writers.clear();
  }

  /** Takes what is stored already for the put. `recordBytes` is what it would take, where that is known. */
  #hit(id: ObjectId, payloadBytes: number, recordBytes = payloadBytes): boolean {
    const { locator } = this.#env;
    const entry = locator.reliable(this.#descriptor.space, id, this.#markLive);
    if (entry < 0) return false;
    const countsAsNew = this.#descriptor.countsScopeOnly && !this.#isMarked(id, 0);
    if (countsAsNew) this.#allowance.requireRoom(recordBytes);
    this.#marks.markPut(entry, locator.pack(entry), locator.offset(entry) + locator.length(entry));
    if (countsAsNew) this.#countNew(payloadBytes, recordBytes);
    else this.#counters.objectsReused++;
    return true;
  }

  #countNew(payloadBytes: number, recordBytes: number): void {
    this.#allowance.spend(recordBytes);
    this.#counters.objectsNew++;
    this.#counters.bytesNew += payloadBytes;
    if (this.#descriptor.countsScopeOnly) this.#counters.bytesStored += recordBytes;
  }

  get #codec(): ObjectCodec {
    return this.#ownCodec ?? this.#env.source.codec(this.#descriptor.space);
  }

  #store(kind: number, id: ObjectId, refs: Uint8Array, payload: Uint8Array): void {
    const codec = this.#codec;
    this.#append(kind, id, codec.recordBound(refs.length, payload.length), payload.length, (target) =>
      codec.encode(target, { kind, id, refs, payload }),
    );
  }

  #append(
    kind: number,
    id: ObjectId,
    bound: number,
    payloadBytes: number,
    write: (target: Uint8Array) => number,
  ): void {
    this.#allowance.requireRoom(bound);
    const writer = this.#writer(kind === Kind.data ? PackKind.data : PackKind.metadata);
    const { offset, length } = writer.append(this.#descriptor.space, id, kind, bound, write);
    this.#publish(writer, kind, id, offset, length, payloadBytes);
  }

  /** Makes an appended record known. */
  #publish(writer: PackWriter, kind: number, id: ObjectId, offset: number, length: number, payloadBytes: number): void {
    const { index } = this.#env.locator;
    const flag = kind === Kind.data ? FLAG_DATA : 0;
    const entry = index.insert(this.#descriptor.space, id, writer.pack, offset, length | flag);
    this.#env.live.add(entry);
    this.#marks.markPut(entry, writer.pack, offset + length);
    this.#countNew(payloadBytes, length);
  }

  #writer(kind: number): PackWriter {
    const open = this.#writers.get(kind);
    if (open !== undefined && !open.isFull) return open;
    if (open !== undefined) {
      this.#writers.delete(kind);
      this.#finish(open);
    }
    const buffer = this.#env.buffers.take(kind === PackKind.data);
    try {
      const { epoch, storeId } = this.#env;
      const sessionId = Buffer.from(this.#descriptor.sessionId, 'hex');
      const writer = new PackWriter(this.#env.layout, this.#env.packs, { kind, sessionId, epoch, storeId }, buffer);
      this.#writers.set(kind, writer);
      return writer;
    } catch (error) {
      this.#env.buffers.give(buffer);
      throw error;
    }
  }

  #finish(writer: PackWriter): void {
    try {
      writer.seal();
      if (!this.#descriptor.countsScopeOnly) this.#counters.bytesStored += writer.end;
    } finally {
      this.#env.buffers.give(writer.buffer);
    }
  }

  #requireKnown(refs: Uint8Array): void {
    const at = this.#unknown(refs);
    if (at >= 0) throw outOfScope(refs.subarray(at, at + ID_BYTES));
  }

  /** Where the first id stands that may not be named or cannot be read, or -1. */
  #unknown(ids: Uint8Array): number {
    const count = this.#lookUp(ids);
    for (let place = 0; place < count; place++) {
      const entry = this.#found[place] as number;
      if (entry >= 0 && this.#isUsable(entry)) continue;
      // Not this copy, perhaps another.
      const at = place * ID_BYTES;
      if (!this.#isKnown(ids, at)) return at;
    }
    return -1;
  }

  /** Fills `#found` with an entry of each id; returns how many there are. */
  #lookUp(ids: Uint8Array): number {
    const count = ids.length / ID_BYTES;
    if (this.#found.length < count) this.#found = new Int32Array(count);
    this.#env.locator.index.firstOfEach(this.#descriptor.space, ids, this.#found);
    return count;
  }

  #isKnown(ids: Uint8Array, at: number): boolean {
    if (this.#isMarked(ids, at)) return true;
    if (this.#marks.scopeIsComplete) return false;
    // The scope is the closure of fixed roots; it is discovered as it is read, and in full before anything is refused.
    this.prepare(Number.POSITIVE_INFINITY);
    return this.#isMarked(ids, at);
  }

  #isMarked(ids: Uint8Array, at: number): boolean {
    const { index } = this.#env.locator;
    for (let entry = index.first(this.#descriptor.space, ids, at); entry >= 0; entry = index.next()) {
      if (this.#isUsable(entry)) return true;
    }
    return false;
  }

  /** Whether the session may name this copy: it put it or has it in scope, and it can be read. */
  #isUsable(entry: number): boolean {
    return (this.#marks.puts.has(entry) || this.#marks.scope.has(entry)) && this.#env.locator.isReadable(entry);
  }

  #markScope(id: ObjectId): void {
    markCopies(this.#env.locator, this.#descriptor.space, id, 0, this.#marks.scope);
  }

  /** Roots of a manifest that is about to go and was there when the session opened: what they reach stays in scope (rule S3). */
  keepForgotten(roots: readonly string[]): void {
    this.#scopeRoots.push(...roots);
    this.#scopeWalk?.add(roots);
  }

  #startScopeWalk(): ScopeWalk {
    const { space, scopeManifests } = this.#descriptor;
    return new ScopeWalk(this.#env, space, this.#scopeRoots, eachManifest(scopeManifests), this.#marks.scope);
  }
}

function outOfScope(id: Uint8Array): HoldfastError {
  const hex = Buffer.from(id).toString('hex');
  return new HoldfastError(
    'out-of-scope',
    `object ${hex.slice(0, 16)}… is named but was neither put in this session nor is in its scope`,
    { data: { id: hex } },
  );
}
