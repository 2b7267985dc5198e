// The payload of a page: the pieces of one 16 MiB range of an image. docs/format.md, section 4.
import { HoldfastError } from '../util/errors.ts';
import { ID_BYTES, PAGE_BYTES } from './object.ts';

const VERSION = 1;
const HEADER_BYTES = 8;
const HOLE = 0x80000000;

/** Pieces are at least one block of 4 KiB long. */
const MAX_PIECES = PAGE_BYTES / 4096;

/** Collects the pieces of a page in order; reusable, allocates once. Neighbouring holes become one. */
export class PageBuilder {
  readonly #lengths = new Uint32Array(MAX_PIECES);
  readonly #refs = Buffer.alloc(MAX_PIECES * ID_BYTES);
  #pieces = 0;
  #ids = 0;

  clear(): void {
    this.#pieces = 0;
    this.#ids = 0;
  }

  addData(length: number, id: Uint8Array): void {
    this.#lengths[this.#pieces++] = length;
    this.#refs.set(id, this.#ids++ * ID_BYTES);
  }

  addHole(length: number): void {
    const last = this.#pieces - 1;
    if (last >= 0 && ((this.#lengths[last] as number) & HOLE) !== 0) {
      this.#lengths[last] = ((this.#lengths[last] as number) + length) >>> 0;
    } else {
      this.#lengths[this.#pieces++] = (length | HOLE) >>> 0;
    }
  }

  /** Views that stay valid until the builder is used again. */
  finish(): { refs: Uint8Array; payload: Uint8Array } {
    const payload = Buffer.alloc(HEADER_BYTES + this.#pieces * 4);
    payload.writeUInt8(VERSION, 0);
    payload.writeUInt32LE(this.#pieces, 4);
    for (let piece = 0; piece < this.#pieces; piece++) {
      payload.writeUInt32LE(this.#lengths[piece] as number, HEADER_BYTES + piece * 4);
    }
    return { refs: this.#refs.subarray(0, this.#ids * ID_BYTES), payload };
  }
}

/** One piece of a page; `ref` is the place of its id among the refs, -1 for a hole. Offsets count from the page's start. */
export interface PagePiece {
  readonly offset: number;
  readonly length: number;
  readonly ref: number;
}

/**
 * Reads a page's payload.
 * @throws HoldfastError `object-damaged` when it is not the payload of a page with `refCount` refs.
 */
export function parsePage(payload: Uint8Array, refCount: number): PagePiece[] {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  if (payload.length < HEADER_BYTES || view.getUint8(0) !== VERSION) throw malformed('unknown version');
  const count = view.getUint32(4, true);
  if (payload.length !== HEADER_BYTES + count * 4) throw malformed('wrong length');
  const pieces: PagePiece[] = new Array(count);
  let offset = 0;
  let ref = 0;
  for (let piece = 0; piece < count; piece++) {
    const word = view.getUint32(HEADER_BYTES + piece * 4, true);
    const length = word & ~HOLE;
    if (length === 0 || offset + length > PAGE_BYTES) throw malformed('impossible lengths');
    pieces[piece] = { offset, length, ref: (word & HOLE) !== 0 ? -1 : ref++ };
    offset += length;
  }
  if (ref !== refCount) throw malformed(`${refCount} refs for ${ref} pieces`);
  return pieces;
}

function malformed(why: string): HoldfastError {
  return new HoldfastError('object-damaged', `a page object is malformed: ${why}`);
}
