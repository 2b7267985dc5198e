// The same directory in the base snapshot, asked for its entries in the order of their names; holds one leaf at a time.
import { type DirectoryEntry, type DirectoryPart, parseDirectory } from '../../../chunker/directory.ts';
import { Kind, type ObjectId } from '../../../chunker/object.ts';
import type { ByteString } from '../../../util/byte-string.ts';
import { HoldfastError } from '../../../util/errors.ts';
import type { ObjectSink } from '../../object-sink.ts';

export class BaseDirectory {
  readonly #sink: ObjectSink;
  #parts: readonly DirectoryPart[] = [];
  #nextPart = 0;
  #entries: readonly DirectoryEntry[] = [];
  #next = 0;

  /** A directory that cannot be read any more has no entries: its files are read again, which heals them. */
  constructor(sink: ObjectSink, id: Uint8Array | undefined) {
    this.#sink = sink;
    if (id === undefined) return;
    const directory = this.#read(id);
    if (directory?.parts !== undefined) this.#parts = directory.parts;
    else this.#entries = directory?.entries ?? [];
  }

  /** The entry of that name, if there is one. Names must rise from call to call. */
  find(name: ByteString): DirectoryEntry | undefined {
    this.#openPartOf(name);
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
    this.#entries = this.#read((this.#parts[wanted] as DirectoryPart).id)?.entries ?? [];
    this.#next = 0;
  }

  #read(id: Uint8Array): ReturnType<typeof parseDirectory> | undefined {
    try {
      const { kind, payload, refs } = this.#sink.get(Buffer.from(id) as ObjectId);
      return kind === Kind.directory ? parseDirectory(payload, refs) : undefined;
    } catch (error) {
      if (error instanceof HoldfastError && ['object-damaged', 'object-missing'].includes(error.code)) return undefined;
      throw error;
    }
  }
}
