// Records of a thread on their way to the main thread: encoded one behind the other into memory that is handed over, about 1 MiB at a time.
import { FRAME_HEADER_BYTES } from './frames.ts';

const BATCH_BYTES = 1024 * 1024;
/** Less than this is copied out, so that small hand-overs do not cost a large buffer each. */
const SMALL_BYTES = 128 * 1024;

export class OutBatch {
  readonly #send: (frames: Uint8Array) => void;
  #bytes: Uint8Array = new Uint8Array(0);
  #used = 0;

  /** `send` takes the memory away. */
  constructor(send: (frames: Uint8Array) => void) {
    this.#send = send;
  }

  /** Adds a record of at most `bound` bytes, which `write` puts into its target. */
  add(bound: number, write: (target: Uint8Array) => number): void {
    const needed = FRAME_HEADER_BYTES + bound;
    if (this.#used + needed > this.#bytes.length) {
      this.flush();
      if (this.#bytes.length < needed) this.#bytes = new Uint8Array(Math.max(BATCH_BYTES, needed));
    }
    const at = this.#used + FRAME_HEADER_BYTES;
    const length = write(this.#bytes.subarray(at, at + bound));
    new DataView(this.#bytes.buffer).setUint32(this.#used, length, true);
    this.#used = at + length;
  }

  /** Hands over what there is. */
  flush(): void {
    const used = this.#used;
    if (used === 0) return;
    this.#used = 0;
    if (used < SMALL_BYTES) {
      this.#send(this.#bytes.slice(0, used));
      return;
    }
    const frames = this.#bytes.subarray(0, used);
    this.#bytes = new Uint8Array(0);
    this.#send(frames);
  }
}
