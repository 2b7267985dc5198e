// Work for a fixed number of threads that makes more work as it is done: last in, first out, so that what waits stays little. More work is
// planned only when nothing waits.

export type Task = (thread: number) => Promise<void>;

export class RestoreQueue {
  readonly #stack: Task[] = [];
  readonly #plan: AsyncIterator<Task>;
  #isPlanned = false;
  #isPlanning = false;
  #active = 0;
  #failure: { error: unknown } | undefined;
  #sleepers: (() => void)[] = [];

  /** `plan` yields what to begin with. */
  constructor(plan: AsyncIterator<Task>) {
    this.#plan = plan;
  }

  /** May be called by tasks. */
  push(task: Task): void {
    this.#stack.push(task);
    this.#wake();
  }

  /** Works until nothing is left; after a failure no task begins, and the first failure is thrown once all have ended. */
  async run(threads: number, signal: AbortSignal): Promise<void> {
    const stop = (): void => this.#fail(signal.reason);
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    try {
      await Promise.all(Array.from({ length: threads }, (_, thread) => this.#work(thread)));
    } finally {
      signal.removeEventListener('abort', stop);
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #work(thread: number): Promise<void> {
    while (this.#failure === undefined) {
      const task = this.#stack.pop() ?? this.#planner();
      if (task === undefined) {
        if (this.#active === 0 && this.#isPlanned) return;
        await new Promise<void>((resolve) => this.#sleepers.push(resolve));
        continue;
      }
      this.#active++;
      try {
        await task(thread);
      } catch (error) {
        this.#fail(error);
      } finally {
        this.#active--;
        this.#wake();
      }
    }
  }

  /** One thread plans at a time. */
  #planner(): Task | undefined {
    if (this.#isPlanned || this.#isPlanning) return undefined;
    this.#isPlanning = true;
    return async () => {
      try {
        const { value, done } = await this.#plan.next();
        if (done === true) this.#isPlanned = true;
        else this.push(value);
      } finally {
        this.#isPlanning = false;
      }
    };
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#sleepers.splice(0)) wake();
  }
}
