// Reads many records at once for a restore: records that lie close together in a pack come with one direct read into the arena.

import type { ObjectId, StoredObject } from '../chunker/object.ts';
import type { ObjectCodec } from '../chunker/object-codec.ts';
import type { Area } from '../util/arena.ts';
import { HoldfastError } from '../util/errors.ts';
import { continuesRun, type Place, RUN_BYTES, SLACK_BYTES } from './neighbours.ts';
import type { ObjectSource } from './object-source.ts';

export class RecordFetcher {
  readonly #source: ObjectSource;
  readonly #space: number;
  readonly #buffer: Area;

  /** `buffer` is an area of `RecordFetcher.bufferBytes` in the thread's arena. */
  constructor(source: ObjectSource, space: number, buffer: Area) {
    this.#source = source;
    this.#space = space;
    this.#buffer = buffer;
  }

  static readonly bufferBytes = RUN_BYTES + SLACK_BYTES;

  /** Decodes what `fetch` delivers. @throws `key-missing`. */
  get codec(): ObjectCodec {
    return this.#source.codec(this.#space);
  }

  get(id: ObjectId): StoredObject {
    return this.#source.get(this.#space, id);
  }

  fetch(ids: readonly Uint8Array[], deliver: (place: number, record: Uint8Array | undefined) => void): void {
    const places = ids.map((id) => this.#locate(id));
    for (let first = 0; first < places.length; ) {
      const start = places[first];
      if (start === undefined || start.length > RUN_BYTES) {
        deliver(first++, undefined);
        continue;
      }
      let last = first + 1;
      let end = start.offset + start.length;
      for (let next = places[last]; next !== undefined && continuesRun(start, end, next); next = places[last]) {
        end = next.offset + next.length;
        last++;
      }
      const shift = this.#read(start.pack, start.offset, end - start.offset);
      for (; first < last; first++) {
        const place = places[first] as Place;
        const at = (shift ?? 0) + place.offset - start.offset;
        deliver(first, shift === undefined ? undefined : this.#buffer.bytes.subarray(at, at + place.length));
      }
    }
  }

  #locate(id: Uint8Array): Place | undefined {
    const { locator } = this.#source;
    const entry = locator.copies(this.#space, id)[0];
    if (entry === undefined) return undefined;
    return { pack: locator.pack(entry), offset: locator.offset(entry), length: locator.length(entry) };
  }

  /** Where the range begins in the buffer; undefined when it cannot be read. */
  #read(pack: number, offset: number, length: number): number | undefined {
    try {
      return this.#source.packs.readRange(pack, offset, length, this.#buffer.bytes);
    } catch (error) {
      // The caller then reads each object with all its copies, and says which one is lost.
      if (error instanceof HoldfastError) return undefined;
      throw error;
    }
  }
}
