// One connection's share of its thread: after so many bytes, or so much time, the others get their turn.
import { TURN_BYTES, TURN_MS } from './bulk-limits.ts';

export class WorkTurn {
  #bytes = 0;
  #endMs = 0;
  #immediate: NodeJS.Immediate | undefined;
  #goOn: (() => void) | undefined;

  /** Whether nothing more should be done before `next`. */
  get isOver(): boolean {
    return this.#immediate !== undefined && (this.#bytes >= TURN_BYTES || performance.now() >= this.#endMs);
  }

  /** Notes work that was done. */
  spend(bytes: number): void {
    this.#bytes += bytes;
    if (this.#immediate !== undefined) return;
    this.#endMs = performance.now() + TURN_MS;
    this.#immediate = setImmediate(() => this.#begin());
  }

  /** Has `goOn` called once in the next turn. */
  next(goOn: () => void): void {
    this.#goOn = goOn;
    this.#immediate ??= setImmediate(() => this.#begin());
  }

  end(): void {
    this.#goOn = undefined;
    clearImmediate(this.#immediate);
  }

  #begin(): void {
    this.#immediate = undefined;
    this.#bytes = 0;
    const goOn = this.#goOn;
    this.#goOn = undefined;
    goOn?.();
  }
}
