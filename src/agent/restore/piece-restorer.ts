// Restores the pieces of one range in a worker: records in, decoded and checked in the arena, runs of data out to the target.

import { ID_BYTES, type ObjectId } from '../../chunker/object.ts';
import type { ObjectCodec } from '../../chunker/object-codec.ts';
import { parsePage } from '../../chunker/page.ts';
import type { Area } from '../../util/arena.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { ObjectFetcher } from '../object-sink.ts';
import type { RangeTarget } from './target.ts';

/** Data is handed to the target in runs of about this size: small enough to stay in the cache. */
const RUN_BYTES = 1024 * 1024;
const HEADROOM_BYTES = 4096;

export interface RestorePiece {
  readonly length: number;
  /** Undefined for a hole. */
  readonly id: Uint8Array | undefined;
}

/** Bytes of an archive. */
export interface LostRange {
  readonly offset: number;
  readonly length: number;
}

/** Whether an error says that an object is lost, and nothing of this process or its disks. */
export function isLostObject(error: unknown): boolean {
  return error instanceof HoldfastError && (error.code === 'object-damaged' || error.code === 'object-missing');
}

export class PieceRestorer {
  readonly #memory: Uint8Array;
  readonly #output: Area;

  /** `memory` is the whole arena, `output` an area of it with room for `outputBytes(maxBytes)`. */
  constructor(memory: Uint8Array, output: Area) {
    this.#memory = memory;
    this.#output = output;
  }

  static outputBytes(maxBytes: number): number {
    return HEADROOM_BYTES + RUN_BYTES + maxBytes;
  }

  /** The pieces of a page. @throws `object-missing`, `object-damaged`. */
  static piecesOf(fetcher: ObjectFetcher, page: ObjectId): RestorePiece[] {
    const { refs, payload } = fetcher.get(page);
    return parsePage(payload, refs.length / ID_BYTES).map((piece) => ({
      length: piece.length,
      id: piece.ref < 0 ? undefined : refs.subarray(piece.ref * ID_BYTES, (piece.ref + 1) * ID_BYTES),
    }));
  }

  /**
   * Writes the pieces to `target` from `offset` on. Every byte was checked against its object's id. With `lost`, zeros stand for pieces
   * that cannot be read, and their ranges are added to it.
   * @throws `object-missing`, `object-damaged` without `lost`.
   */
  run(
    pieces: readonly RestorePiece[],
    offset: number,
    fetcher: ObjectFetcher,
    target: RangeTarget,
    lost?: LostRange[],
  ): void {
    const data = pieces.filter((piece) => piece.id !== undefined);
    const ids = data.map((piece) => piece.id as Uint8Array);
    const { bytes, pointer } = this.#output;
    const { codec } = fetcher;
    let next = 0;
    let position = offset;
    let runStart = offset;
    let held = 0;
    const flush = (): void => {
      if (held > 0) target.write(runStart, bytes.subarray(HEADROOM_BYTES, HEADROOM_BYTES + held));
      held = 0;
    };
    const passHoles = (): void => {
      for (let piece = pieces[next]; piece !== undefined && piece.id === undefined; piece = pieces[++next]) {
        flush();
        target.hole(position, piece.length);
        position += piece.length;
      }
    };
    fetcher.fetch(ids, (place, record) => {
      passHoles();
      const piece = data[place] as RestorePiece;
      next++;
      if (piece.length > bytes.length - HEADROOM_BYTES - RUN_BYTES) {
        // Larger than any piece this version cuts: it does not fit beside a run.
        flush();
        const payload = this.#readUnlessLost(piece, position, fetcher, lost);
        if (payload === undefined) target.hole(position, piece.length);
        else target.write(position, payload);
        position += piece.length;
        return;
      }
      if (held >= RUN_BYTES) flush();
      if (held === 0) runStart = position;
      const at = pointer + HEADROOM_BYTES + held;
      if (record === undefined || !this.#decodes(codec, at, piece, record)) {
        const place = this.#memory.subarray(at, at + piece.length);
        const payload = this.#readUnlessLost(piece, position, fetcher, lost);
        if (payload === undefined) place.fill(0);
        else place.set(payload);
      }
      held += piece.length;
      position += piece.length;
    });
    flush();
    passHoles();
  }

  /** The piece's bytes; undefined when it is lost and `lost` takes that. */
  #readUnlessLost(
    piece: RestorePiece,
    position: number,
    fetcher: ObjectFetcher,
    lost: LostRange[] | undefined,
  ): Uint8Array | undefined {
    try {
      return this.#read(piece, fetcher);
    } catch (error) {
      if (lost === undefined || !isLostObject(error)) throw error;
      lost.push({ offset: position, length: piece.length });
      return undefined;
    }
  }

  /** Slow and thorough: every copy, each read twice. */
  #read(piece: RestorePiece, fetcher: ObjectFetcher): Uint8Array {
    const { payload } = fetcher.get(piece.id as ObjectId);
    if (payload.length !== piece.length) {
      throw new HoldfastError(
        'object-damaged',
        `an object has ${payload.length} bytes where its page says ${piece.length}`,
      );
    }
    return payload;
  }

  #decodes(codec: ObjectCodec, at: number, { length, id }: RestorePiece, record: Uint8Array): boolean {
    const place = this.#memory.subarray(at, at + length);
    try {
      if (codec.decodePayload(record, place) !== length) return false;
    } catch (error) {
      if (error instanceof HoldfastError) return false;
      throw error;
    }
    return codec.dataId(this.#memory, at, length).equals(id as Uint8Array);
  }
}
