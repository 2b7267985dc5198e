// The payload of a list, and the builder that stacks lists into a tree of any height with bounded memory. docs/format.md, section 4.
import { HoldfastError } from '../util/errors.ts';
import { ID_BYTES, Kind, LIST_FANOUT, type ObjectId } from './object.ts';

const VERSION = 1;
const HEADER_BYTES = 8;
const HOLE = 0x8000000000000000n;

export interface ListEntry {
  readonly length: number;
  /** Undefined for a hole. */
  readonly id: ObjectId | undefined;
}

export interface List {
  readonly childKind: number;
  readonly height: number;
  readonly entries: readonly ListEntry[];
}

/** The refs and payload of one list. */
export function encodeList(list: List): { refs: Buffer; payload: Buffer } {
  const payload = Buffer.alloc(HEADER_BYTES + list.entries.length * 8);
  payload.writeUInt8(VERSION, 0);
  payload.writeUInt8(list.childKind, 1);
  payload.writeUInt8(list.height, 2);
  payload.writeUInt32LE(list.entries.length, 4);
  list.entries.forEach((entry, place) => {
    payload.writeBigUInt64LE(BigInt(entry.length) | (entry.id === undefined ? HOLE : 0n), HEADER_BYTES + place * 8);
  });
  return { refs: Buffer.concat(list.entries.flatMap((entry) => (entry.id === undefined ? [] : [entry.id]))), payload };
}

/**
 * Reads a list's payload.
 * @throws HoldfastError `object-damaged` when it is not the payload of a list with these refs.
 */
export function parseList(payload: Uint8Array, refs: Uint8Array): List {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  if (payload.length < HEADER_BYTES || view.getUint8(0) !== VERSION) throw malformed('unknown version');
  const childKind = view.getUint8(1);
  const height = view.getUint8(2);
  const count = view.getUint32(4, true);
  if (count > LIST_FANOUT || payload.length !== HEADER_BYTES + count * 8) throw malformed('wrong length');
  if (childKind === Kind.list ? height < 2 : height !== 1) throw malformed('impossible height');
  const entries: ListEntry[] = [];
  let ref = 0;
  for (let place = 0; place < count; place++) {
    const word = view.getBigUint64(HEADER_BYTES + place * 8, true);
    const length = Number(word & ~HOLE);
    if (length === 0 || !Number.isSafeInteger(length)) throw malformed('impossible length');
    const id =
      (word & HOLE) === 0n ? (Buffer.from(refs.subarray(ref * ID_BYTES, ++ref * ID_BYTES)) as ObjectId) : undefined;
    entries.push({ length, id });
  }
  if (ref * ID_BYTES !== refs.length) throw malformed('refs and entries do not match');
  return { childKind, height, entries };
}

/** Stores one object and answers with its id. */
export type PutObject = (kind: number, refs: Uint8Array, payload: Uint8Array) => Promise<ObjectId>;

/** Builds the tree of lists above leaves that arrive in order. Holds at most one unfinished list per level. */
export class ListBuilder {
  readonly #levels: ListEntry[][] = [[]];
  readonly #leafKind: number;
  readonly #put: PutObject;

  constructor(leafKind: number, put: PutObject) {
    this.#leafKind = leafKind;
    this.#put = put;
  }

  async add(entry: ListEntry): Promise<void> {
    await this.#addAt(0, entry);
  }

  /** Stores what is unfinished and returns the root. */
  async finish(): Promise<ObjectId> {
    for (let level = 0; ; level++) {
      const entries = this.#levels[level] as ListEntry[];
      const isTop = level === this.#levels.length - 1;
      if (isTop && level > 0 && entries.length === 1) return (entries[0] as ListEntry).id as ObjectId;
      if (entries.length === 0 && !isTop) continue;
      const closed = await this.#close(level);
      if (isTop) return closed.id as ObjectId;
      await this.#addAt(level + 1, closed);
    }
  }

  async #addAt(level: number, entry: ListEntry): Promise<void> {
    const entries = this.#levels[level] ?? [];
    this.#levels[level] = entries;
    entries.push(entry);
    if (entries.length === LIST_FANOUT) await this.#addAt(level + 1, await this.#close(level));
  }

  async #close(level: number): Promise<ListEntry> {
    const entries = this.#levels[level] as ListEntry[];
    this.#levels[level] = [];
    const list = { childKind: level === 0 ? this.#leafKind : Kind.list, height: level + 1, entries };
    const { refs, payload } = encodeList(list);
    const length = entries.reduce((sum, entry) => sum + entry.length, 0);
    return { length, id: await this.#put(Kind.list, refs, payload) };
  }
}

function malformed(why: string): HoldfastError {
  return new HoldfastError('object-damaged', `a list object is malformed: ${why}`);
}
