// Copies what must stay of flagged packs into new ones, in a worker thread. A copy is published only when its pack is durable and the
// record was read back from it; a pack with a bad live record is left as it is (rule G4).
import { closeSync, openSync, unlinkSync } from 'node:fs';
import { recordId, recordIsWhole } from '../../chunker/record.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { EntrySet } from '../index/entry-set.ts';
import { FLAG_DATA } from '../index/index-entry.ts';
import type { Layout } from '../layout.ts';
import type { IndexLocator, ObjectSource } from '../object-source.ts';
import { readTableEntry, TABLE_ENTRY_BYTES, type TableEntry } from '../packs/pack-format.ts';
import { readSealedPack } from '../packs/pack-scan.ts';
import type { PackTable } from '../packs/pack-table.ts';
import { PackWriter } from '../packs/pack-writer.ts';
import type { WriteBuffers } from '../packs/write-buffers.ts';

/** The session that a pack of garbage collection names: none. */
const NO_SESSION = Buffer.alloc(16);

export interface RewriteEnvironment {
  readonly layout: Layout;
  readonly packs: PackTable;
  readonly locator: IndexLocator;
  readonly source: ObjectSource;
  readonly buffers: WriteBuffers;
  readonly live: EntrySet;
  readonly epoch: number;
  readonly storeId: Buffer;
}

export interface Rewritten {
  /** Pairs of index entries: a copy in a pack that may go now, and the copy that stands for it. */
  readonly moved: Uint32Array;
  /** Packs that must stay, for a live record in them cannot be read. */
  readonly kept: readonly number[];
  readonly bytesWritten: number;
}

interface Copy {
  readonly record: TableEntry;
  readonly pack: number;
  readonly offset: number;
}

/**
 * Index entry -> the copy that will stand for it: one that is made, or the entry of one that is there already. Several have the same one: a collection
 * that was killed leaves an object in two packs, and one that was found bad and stored anew may be good again, beside its other copy in one pack.
 */
type Copies = Map<number, Copy | number>;

/**
 * Copies what must stay of `packs`, all of one kind and flagged, into as few new packs as it takes.
 * @throws `disk-full`, `write-failed` when a new pack cannot be written: nothing is published then.
 */
export function rewritePacks(env: RewriteEnvironment, kind: number, packs: readonly number[]): Rewritten {
  const output = new Output(env, kind);
  const copies: Copies = new Map();
  const kept: number[] = [];
  try {
    for (const pack of packs) {
      const copied = copyLive(env, pack, copies, output);
      if (copied === undefined) kept.push(pack);
      else for (const [entry, copy] of copied) copies.set(entry, copy);
    }
  } catch (error) {
    output.abandon();
    throw error;
  }
  output.finish();
  return { moved: publish(env, copies), kept, bytesWritten: output.bytesWritten };
}

/** The copies that stand for a pack's records, those of earlier packs or new ones; undefined when the pack must stay. */
function copyLive(env: RewriteEnvironment, pack: number, earlier: Copies, output: Output): Copies | undefined {
  const table = readTable(env, pack);
  if (table === undefined) return undefined;
  const copies: Copies = new Map();
  for (let at = 0; at < table.length; at += TABLE_ENTRY_BYTES) {
    const record = readTableEntry(table, at);
    const entry = entryAt(env.locator, record, pack);
    if (entry < 0) continue;
    const others = copiesBut(env.locator, record, entry);
    const twin = others.map((other) => earlier.get(other) ?? copies.get(other)).find((copy) => copy !== undefined);
    const standIn = twin ?? keptCopy(env, entry, others, record);
    if (standIn !== undefined) copies.set(entry, standIn);
    if (standIn !== undefined || !isLive(env, entry, others)) continue;
    const bytes = readWhole(env, entry, record.id);
    if (bytes === undefined) {
      if (env.live.has(entry)) return undefined;
      continue;
    }
    copies.set(entry, { record, ...output.append(record, bytes) });
  }
  return copies;
}

function readTable(env: RewriteEnvironment, pack: number): Buffer | undefined {
  const fd = openSync(env.layout.sealedPack(env.packs.packId(pack)), 'r');
  try {
    return readSealedPack(fd)?.table;
  } finally {
    closeSync(fd);
  }
}

/** The index entry of the copy that stands at this place of a pack, or -1. */
export function entryAt(locator: IndexLocator, record: TableEntry, pack: number): number {
  const { index } = locator;
  for (let entry = index.first(record.space, record.id); entry >= 0; entry = index.next())
    if (index.pack(entry) === pack && index.offset(entry) === record.offset) return entry;
  return -1;
}

/**
 * Another copy that makes this one needless: it stays and was read back just now. One that proves bad leaves this one to be kept, although it was not
 * the one chosen.
 */
function keptCopy(
  env: RewriteEnvironment,
  entry: number,
  others: readonly number[],
  record: TableEntry,
): number | undefined {
  const { locator, live } = env;
  const kept = others.find((other) => locator.isKept(other) && readWhole(env, other, record.id) !== undefined);
  // What stands for a live object is live itself, for the packs that are looked at after this one.
  if (kept !== undefined && isLive(env, entry, others)) live.add(kept);
  return kept;
}

function isLive({ live }: RewriteEnvironment, entry: number, others: readonly number[]): boolean {
  return live.has(entry) || others.some((other) => live.has(other));
}

function copiesBut(locator: IndexLocator, record: TableEntry, entry: number): number[] {
  const { index } = locator;
  const copies: number[] = [];
  for (let copy = index.first(record.space, record.id); copy >= 0; copy = index.next())
    if (copy !== entry) copies.push(copy);
  return copies;
}

/** The record at an entry; read a second time before it counts as bad, and quarantined then. */
function readWhole(env: RewriteEnvironment, entry: number, id: Uint8Array): Buffer | undefined {
  const { locator, source } = env;
  if (!locator.isReadable(entry)) return undefined;
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      const bytes = source.packs.read(locator.pack(entry), locator.offset(entry), locator.length(entry));
      if (recordIsWhole(bytes) && recordId(bytes).equals(id)) return bytes;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
    }
  }
  locator.quarantine(entry);
  return undefined;
}

/** Reads every copy back from its new pack and makes it known. */
function publish(env: RewriteEnvironment, copies: Copies): Uint32Array {
  const { index } = env.locator;
  for (const copy of new Set(copies.values())) {
    if (typeof copy === 'number') continue;
    const { record, pack, offset } = copy;
    const bytes = env.source.packs.read(pack, offset, record.length);
    if (recordIsWhole(bytes) && recordId(bytes).equals(record.id)) continue;
    const path = env.layout.sealedPack(env.packs.packId(pack));
    throw new HoldfastError(
      'write-failed',
      `${path} reads back other than it was written; check the disk, then run it again`,
    );
  }
  const moved: number[] = [];
  const published = new Map<Copy, number>();
  for (const [entry, copy] of copies) {
    if (typeof copy === 'number') {
      moved.push(entry, copy);
      continue;
    }
    const { record, pack, offset } = copy;
    const flag = index.has(entry, FLAG_DATA) ? FLAG_DATA : 0;
    const made = published.get(copy) ?? index.insert(record.space, record.id, pack, offset, record.length | flag);
    published.set(copy, made);
    env.live.add(made);
    moved.push(entry, made);
  }
  return Uint32Array.from(moved);
}

/** The new packs of one job, one after the other. */
class Output {
  bytesWritten = 0;
  readonly #env: RewriteEnvironment;
  readonly #kind: number;
  #writer: PackWriter | undefined;

  constructor(env: RewriteEnvironment, kind: number) {
    this.#env = env;
    this.#kind = kind;
  }

  append(record: TableEntry, bytes: Buffer): { pack: number; offset: number } {
    if (this.#writer?.isFull) this.finish();
    this.#writer ??= this.#start();
    const writer = this.#writer;
    const { offset } = writer.append(record.space, record.id, record.kind, bytes.length, (target) => {
      target.set(bytes);
      return bytes.length;
    });
    return { pack: writer.pack, offset };
  }

  /** Seals what is being written: all of it is durable then. A pack that cannot be sealed goes. */
  finish(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    try {
      writer.seal();
    } catch (error) {
      this.abandon();
      throw error;
    }
    this.bytesWritten += writer.end;
    this.#release(writer);
  }

  abandon(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    writer.abandon();
    this.#release(writer);
    // Nothing in it was published, and a full disk needs the room.
    unlinkSync(this.#env.layout.openPack(this.#env.packs.packId(writer.pack)));
  }

  #start(): PackWriter {
    const { layout, packs, buffers, epoch, storeId } = this.#env;
    const buffer = buffers.take(true);
    try {
      return new PackWriter(layout, packs, { kind: this.#kind, sessionId: NO_SESSION, epoch, storeId }, buffer);
    } catch (error) {
      buffers.give(buffer);
      throw error;
    }
  }

  #release(writer: PackWriter): void {
    this.#writer = undefined;
    this.#env.buffers.give(writer.buffer);
  }
}
