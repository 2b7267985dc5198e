// Memory that a worker thread and the hub both see, so that records pass between them without being copied, transferred or collected: pieces
// for records on their way out, areas for answers. With a new megabyte for each handful of records the main thread spent 2.2 s of a backup of 4 GiB in
// collections alone.

/** Records that leave together; a longer one takes memory of its own. */
export const PIECE_BYTES = 1024 * 1024;
/** What may be unanswered, the piece that is being filled, and one more. */
const PIECES = 10;
/** Twice what a batch of chunks of the usual size takes; a longer answer takes memory of its own. */
const AREA_BYTES = 4 * 1024 * 1024;
/** One is read while the other fills. */
export const AREAS = 2;
const STATE_BYTES = 4096;
const FREE = 0;
const TAKEN = 1;

export class SharedRoom {
  readonly buffer: SharedArrayBuffer;
  readonly #state: Int32Array;

  /** Costs memory where it is touched: at most 10 MiB of a backup, 8 MiB of a restore. */
  constructor(buffer = new SharedArrayBuffer(STATE_BYTES + PIECES * PIECE_BYTES + AREAS * AREA_BYTES)) {
    this.buffer = buffer;
    this.#state = new Int32Array(buffer, 0, PIECES);
  }

  piece(piece: number): Uint8Array {
    return new Uint8Array(this.buffer, STATE_BYTES + piece * PIECE_BYTES, PIECE_BYTES);
  }

  area(area: number): Uint8Array {
    return new Uint8Array(this.buffer, STATE_BYTES + PIECES * PIECE_BYTES + area * AREA_BYTES, AREA_BYTES);
  }

  /** A piece that nobody uses; undefined when all are in use. Of the thread alone. */
  takePiece(): number | undefined {
    const piece = this.#state.findIndex((_, place) => Atomics.load(this.#state, place) === FREE);
    if (piece < 0) return undefined;
    Atomics.store(this.#state, piece, TAKEN);
    return piece;
  }

  givePiece(piece: number): void {
    Atomics.store(this.#state, piece, FREE);
  }

  /** Which piece these bytes lie in; undefined for bytes elsewhere. */
  pieceOf(bytes: Uint8Array): number | undefined {
    return bytes.buffer === this.buffer ? Math.floor((bytes.byteOffset - STATE_BYTES) / PIECE_BYTES) : undefined;
  }
}
