// Records of a thread on their way to the main thread: encoded one behind the other into a shared piece, and handed over when it is full.
import { FRAME_HEADER_BYTES } from './frames.ts';
import type { HubLink } from './hub-link.ts';
import { PIECE_BYTES } from './shared-room.ts';

/** Less than this is copied out, so that small hand-overs do not use up the pieces. */
const SMALL_BYTES = 128 * 1024;

export class OutBatch {
  readonly #link: Pick<HubLink, 'takePiece' | 'sendPiece' | 'send'>;
  #piece: { readonly number: number; readonly bytes: Uint8Array } | undefined;
  #used = 0;

  constructor(link: Pick<HubLink, 'takePiece' | 'sendPiece' | 'send'>) {
    this.#link = link;
  }

  /** Adds a record of at most `bound` bytes, which `write` puts into its target. @throws why the session failed. */
  add(bound: number, write: (target: Uint8Array) => number): void {
    const needed = FRAME_HEADER_BYTES + bound;
    if (this.#used + needed > PIECE_BYTES) this.flush();
    if (needed > PIECE_BYTES) {
      const alone = new Uint8Array(needed);
      this.#link.send(alone.subarray(0, writeFrame(alone, 0, bound, write)));
      return;
    }
    this.#piece ??= this.#link.takePiece();
    this.#used = writeFrame(this.#piece.bytes, this.#used, bound, write);
  }

  /** Hands over what there is. */
  flush(): void {
    if (this.#piece === undefined || this.#used === 0) return;
    const { number, bytes } = this.#piece;
    const used = this.#used;
    this.#used = 0;
    if (used < SMALL_BYTES) {
      this.#link.send(bytes.slice(0, used));
      return;
    }
    this.#piece = undefined;
    this.#link.sendPiece(number, used);
  }
}

/** Returns where the frame ends. */
function writeFrame(bytes: Uint8Array, from: number, bound: number, write: (target: Uint8Array) => number): number {
  const at = from + FRAME_HEADER_BYTES;
  const length = write(bytes.subarray(at, at + bound));
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(from, length, true);
  return at + length;
}
