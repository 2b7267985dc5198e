// Much work in small pieces on the event loop: after some milliseconds of it others get their turn.
import { setImmediate } from 'node:timers/promises';

/** What a server may wait for one of many: a piece is a look at a file, or the reading of a small one. */
const SLICE_MS = 5;

export class WorkSlices {
  #startedMs = performance.now();

  /** To be awaited between two pieces. */
  async next(): Promise<void> {
    if (performance.now() - this.#startedMs < SLICE_MS) return;
    await setImmediate();
    this.#startedMs = performance.now();
  }
}
