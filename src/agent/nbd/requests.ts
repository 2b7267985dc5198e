// What a connection waits for: one `Request` per cookie, several of which make up one `Job` (a read that was cut into pieces).
// A job settles when all of its pieces have: so nothing lands in the caller's memory after its promise has settled.
import type { HoldfastError } from '../../util/errors.ts';

export class Job {
  readonly promise: Promise<void>;
  /** The first failure; pieces not sent yet are then dropped. */
  error: HoldfastError | undefined;
  #open: number;
  #resolve!: () => void;
  #reject!: (error: HoldfastError) => void;

  constructor(pieces: number) {
    this.#open = pieces;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  pieceDone(error?: HoldfastError): void {
    this.error ??= error;
    this.#open -= 1;
    if (this.#open > 0) return;
    if (this.error) this.#reject(this.error);
    else this.#resolve();
  }
}

interface RequestBase {
  readonly job: Job;
  readonly offset: number;
  readonly length: number;
  /** Set by an error chunk that was not the last one of its reply. */
  error?: HoldfastError;
}

export interface ReadRequest extends RequestBase {
  readonly kind: 'read';
  readonly target: Uint8Array;
  readonly covered: Coverage;
}

export interface StatusRequest extends RequestBase {
  readonly kind: 'status';
  readonly contextId: number;
  /** Pairs of length and flags. */
  extents?: Uint32Array;
}

export type Request = ReadRequest | StatusRequest;

/** Which bytes of a read have arrived. Chunks may come in any order, but each byte exactly once. */
export class Coverage {
  /** Disjoint [start, end), in order of arrival; neighbours that follow each other are joined. */
  readonly #spans: [number, number][] = [];

  add(start: number, end: number): void {
    const last = this.#spans.at(-1);
    if (last && last[1] === start) last[1] = end;
    else this.#spans.push([start, end]);
  }

  isWhole(length: number): boolean {
    let at = 0;
    for (const [start, end] of this.#spans.sort((a, b) => a[0] - b[0])) {
      if (start !== at) return false;
      at = end;
    }
    return at === length;
  }
}
