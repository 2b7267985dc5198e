// Waits that end: by themselves, by a limit, or because the server ends.
import { HoldfastError } from '../../util/errors.ts';

/** Runs `work` with a signal that aborts after `limitMs` or when `outer` does. @throws `timed-out`, the reason of `outer`. */
export async function withDeadline<Result>(
  what: string,
  limitMs: number,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  outer.throwIfAborted();
  const own = new AbortController();
  const timer = setTimeout(() => {
    own.abort(new HoldfastError('timed-out', `${what} took longer than ${limitMs / 1000} s`));
  }, limitMs);
  const signal = AbortSignal.any([own.signal, outer]);
  try {
    return await work(signal);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
