// How reads of an NBD export are asked for, shared by all threads that read it and changed under them.

/** Bytes of a request, which crosses no multiple of them, and how many are on the way at once. */
export interface Pace {
  readonly bytes: number;
  readonly depth: number;
}

/** Two Int32: bytes, depth. */
export type SharedPace = SharedArrayBuffer;

export function sharePace(pace: Pace): SharedPace {
  const shared = new SharedArrayBuffer(8);
  setPace(shared, pace);
  return shared;
}

export function setPace(shared: SharedPace, { bytes, depth }: Pace): void {
  const numbers = new Int32Array(shared);
  Atomics.store(numbers, 0, bytes);
  Atomics.store(numbers, 1, depth);
}

/** What it is at the time of each call. */
export function readPace(shared: SharedPace): () => Pace {
  const numbers = new Int32Array(shared);
  return () => ({ bytes: Atomics.load(numbers, 0), depth: Atomics.load(numbers, 1) });
}
