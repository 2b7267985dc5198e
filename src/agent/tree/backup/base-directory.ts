// The same directory in the base snapshot, asked for its entries in the order of their names; holds one leaf at a time.
import { type DirectoryEntry, type DirectoryPart, isLeaf, parseDirectory } from '../../../chunker/directory.ts';
import { Kind, type ObjectId, type StoredObject } from '../../../chunker/object.ts';
import type { ByteString } from '../../../util/byte-string.ts';
import { HoldfastError } from '../../../util/errors.ts';
import type { ObjectSink } from '../../object-sink.ts';

/** A leaf as it is stored. */
export interface BaseLeaf {
  readonly id: Uint8Array;
  readonly object: StoredObject;
}

export class BaseDirectory {
  readonly #sink: ObjectSink;
  #parts: readonly DirectoryPart[] = [];
  #nextPart = 0;
  #leaf: BaseLeaf | undefined;
  /** Of `#leaf`, once somebody asks for one. */
  #entries: readonly DirectoryEntry[] | undefined;
  #next = 0;

  /** A directory that cannot be read any more has no entries: its files are read again, which heals them. */
  constructor(sink: ObjectSink, id: Uint8Array | undefined) {
    this.#sink = sink;
    if (id === undefined) return;
    const object = this.#read(id);
    if (object === undefined) return;
    if (isLeaf(object.payload)) this.#leaf = { id, object };
    else this.#parts = ifWhole(() => parseDirectory(object.payload, object.refs).parts) ?? [];
  }

  /** The leaf that begins with `first`, or the only one. Ask before the first `find`, and not again. */
  leafFrom(first: ByteString): BaseLeaf | undefined {
    this.#openPartOf(first);
    const isPart = this.#nextPart > 0;
    return isPart && this.#parts[this.#nextPart - 1]?.first !== first ? undefined : this.#leaf;
  }

  /** The entry of that name, if there is one. Names must rise from call to call. */
  find(name: ByteString): DirectoryEntry | undefined {
    this.#openPartOf(name);
    this.#entries ??= entriesOf(this.#leaf);
    for (let entry = this.#entries[this.#next]; entry !== undefined; entry = this.#entries[++this.#next]) {
      if (entry.name < name) continue;
      return entry.name === name ? entry : undefined;
    }
    return undefined;
  }

  /** Moves on to the last part that begins at or before `name`. */
  #openPartOf(name: ByteString): void {
    let wanted = -1;
    while (this.#nextPart < this.#parts.length && (this.#parts[this.#nextPart] as DirectoryPart).first <= name)
      wanted = this.#nextPart++;
    if (wanted < 0) return;
    const { id } = this.#parts[wanted] as DirectoryPart;
    const object = this.#read(id);
    this.#leaf = object === undefined ? undefined : { id, object };
    this.#entries = undefined;
    this.#next = 0;
  }

  #read(id: Uint8Array): StoredObject | undefined {
    const object = ifWhole(() => this.#sink.get(Buffer.from(id) as ObjectId));
    return object?.kind === Kind.directory ? object : undefined;
  }
}

function entriesOf(leaf: BaseLeaf | undefined): readonly DirectoryEntry[] {
  if (leaf === undefined) return [];
  const { payload, refs } = leaf.object;
  return ifWhole(() => parseDirectory(payload, refs).entries) ?? [];
}

/** Undefined for what is damaged or lost. */
function ifWhole<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof HoldfastError && ['object-damaged', 'object-missing'].includes(error.code)) return undefined;
    throw error;
  }
}
