// The few places of one thread for records that are too long for the memory that each connection keeps: they bound what clients can make it
// hold. First come, first served, and one for each session.
import { LARGE_RECORDS } from './bulk-limits.ts';

interface Waiting {
  readonly session: string;
  readonly enter: () => void;
}

export class LargeRecords {
  readonly #holders = new Set<string>();
  #waiting: Waiting[] = [];

  /** Calls `enter` when there is a place, perhaps at once. The function that it returns gives the place up, or the wish for one. */
  take(session: string, enter: () => void): () => void {
    let isOver = false;
    let holds = false;
    const waiting: Waiting = {
      session,
      enter: () => {
        holds = true;
        enter();
      },
    };
    this.#waiting.push(waiting);
    this.#admit();
    return () => {
      if (isOver) return;
      isOver = true;
      if (holds) this.#holders.delete(session);
      else this.#waiting = this.#waiting.filter((each) => each !== waiting);
      this.#admit();
    };
  }

  #admit(): void {
    while (this.#holders.size < LARGE_RECORDS) {
      const next = this.#waiting.find(({ session }) => !this.#holders.has(session));
      if (next === undefined) return;
      this.#waiting = this.#waiting.filter((each) => each !== next);
      this.#holders.add(next.session);
      next.enter();
    }
  }
}
