// What the main thread knows of a session's bulk calls, which it never sees: shared counters that the worker threads keep.

const LAST_CALL = 0;
const RUNNING = 1;
const CONNECTIONS = 2;

export class Activity {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer = new SharedArrayBuffer(12)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /** Notes a call at this moment, in seconds of any clock that all threads share. */
  touch(nowSeconds: number): void {
    Atomics.store(this.#words, LAST_CALL, nowSeconds);
  }

  callStarted(nowSeconds: number): void {
    Atomics.add(this.#words, RUNNING, 1);
    this.touch(nowSeconds);
  }

  callEnded(nowSeconds: number): void {
    this.touch(nowSeconds);
    Atomics.sub(this.#words, RUNNING, 1);
  }

  connectionTaken(): void {
    Atomics.add(this.#words, CONNECTIONS, 1);
  }

  connectionLeft(): void {
    Atomics.sub(this.#words, CONNECTIONS, 1);
  }

  /** Whether a line is open on which the session's last call came. */
  get isConnected(): boolean {
    return Atomics.load(this.#words, CONNECTIONS) > 0;
  }

  /** Seconds since the last call; 0 while one runs. */
  idleSeconds(nowSeconds: number): number {
    if (Atomics.load(this.#words, RUNNING) > 0) return 0;
    return Math.max(0, nowSeconds - Atomics.load(this.#words, LAST_CALL));
  }
}

/** Seconds of the wall clock: only differences between threads of one process count. */
export const nowSeconds = (): number => Math.floor(Date.now() / 1000);
