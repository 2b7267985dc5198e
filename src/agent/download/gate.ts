// Lets work through in slices: while the gate is open what comes goes on, and once its time is over it waits until the gate opens again.

export class Gate {
  readonly #onWaiting: () => void;
  readonly #waiting = new Set<{ readonly go: () => void; readonly fail: (error: unknown) => void }>();
  #openUntil = 0;
  #failure: { readonly error: unknown } | undefined;

  /** `onWaiting` hears of whoever has to wait. */
  constructor(onWaiting: () => void) {
    this.#onWaiting = onWaiting;
  }

  /** Who waits goes on, each for one step at least. */
  open(sliceMs: number): void {
    this.#openUntil = performance.now() + sliceMs;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const { go } of waiting) go();
  }

  shut(): void {
    this.#openUntil = 0;
  }

  /** Nobody goes through any more. */
  fail(error: unknown): void {
    this.#failure = { error };
    for (const { fail } of this.#waiting) fail(error);
    this.#waiting.clear();
  }

  /** Returns when there is time. @throws what the gate failed with. */
  async pass(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (performance.now() < this.#openUntil) return;
    await new Promise<void>((go, fail) => {
      this.#waiting.add({ go, fail });
      this.#onWaiting();
    });
  }
}
