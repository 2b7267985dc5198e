// One thing that is waited for: it comes, or fails, or the time is over, or the caller gives up; whatever is first counts, and the timer and
// the signal's listener are gone after it.
import { HoldfastError } from '../../util/errors.ts';

export interface WaitOptions {
  /** Without it there is no limit. */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  timedOut?: () => HoldfastError;
  /** For the message of `aborted`. */
  what: string;
}

export interface Wait<Value> {
  /** Its rejection is nobody's duty to look at. */
  readonly promise: Promise<Value>;
  /** Aborted, with the error as its reason, when the waiting failed. */
  readonly signal: AbortSignal;
  take(value: Value): void;
  fail(error: Error): void;
  /** Ends it without an outcome. */
  cancel(): void;
}

export function waitFor<Value>({ timeoutMs, signal, timedOut, what }: WaitOptions): Wait<Value> {
  const failed = new AbortController();
  let settle!: (value: Value) => void;
  const promise = new Promise<Value>((resolve, reject) => {
    settle = resolve;
    failed.signal.addEventListener('abort', () => reject(failed.signal.reason as Error), { once: true });
  });
  promise.catch(() => {});
  const cancel = () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  };
  const fail = (error: Error) => {
    cancel();
    failed.abort(error);
  };
  const onAbort = () => fail(new HoldfastError('aborted', `${what} was aborted`, { cause: signal?.reason }));
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          fail(timedOut?.() ?? new HoldfastError('timed-out', `${what} took more than ${timeoutMs} ms`));
        }, timeoutMs);
  if (signal?.aborted) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  const take = (value: Value) => {
    cancel();
    settle(value);
  };
  return { promise, signal: failed.signal, take, fail, cancel };
}
