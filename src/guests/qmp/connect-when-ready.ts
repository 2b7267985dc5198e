// Connects to the monitor of a QEMU that is just starting. The socket is there before QEMU listens, goes when it ends, and a connection that comes between the
// socket and the monitor behind it is never greeted (seen once in some hundred starts on a loaded machine): each of these is tried again.
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../util/errors.ts';
import { QmpClient } from './qmp-client.ts';

/** Most QEMUs and daemons are ready within 10 ms, some after seconds. */
const POLL_MS = { first: 1, last: 20 };
/** Of the time that was waited already, for the next look. */
const POLL_SHARE = 0.25;
const GREETING_MS = 3_000;

export interface ReadyOptions {
  readonly label: string;
  /** Until it has to be ready, opening of images on slow storage included. */
  readonly timeoutMs: number;
  /** How long a connection waits to be greeted before another is made; default 3 s. */
  readonly greetingMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Why it will never be ready; undefined while it may. */
  failure(): Promise<Error | undefined>;
}

/** @throws what `failure` tells, `timed-out`, `aborted`. */
export async function connectWhenReady(socketPath: string, options: ReadyOptions): Promise<QmpClient> {
  const { label, timeoutMs, greetingMs = GREETING_MS, signal } = options;
  const begun = performance.now();
  const deadline = begun + timeoutMs;
  for (;;) {
    if (signal?.aborted)
      throw new HoldfastError('aborted', `${label}: the start was aborted`, { cause: signal.reason });
    const failure = await options.failure();
    if (failure !== undefined) throw failure;
    const leftMs = deadline - performance.now();
    if (leftMs <= 0)
      throw new HoldfastError(
        'timed-out',
        `${label} did not start within ${timeoutMs / 1000} s; check the storage below its disks`,
      );
    try {
      return await QmpClient.connect(socketPath, { label, signal, timeoutMs: Math.min(leftMs, greetingMs) });
    } catch (error) {
      const isEarly =
        error instanceof HoldfastError && ['guest-stopped', 'guest-failed', 'timed-out'].includes(error.code);
      if (!isEarly) throw error;
    }
    const waitedMs = performance.now() - begun;
    await sleep(Math.min(POLL_MS.last, Math.max(POLL_MS.first, waitedMs * POLL_SHARE)));
  }
}
