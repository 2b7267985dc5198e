// One HTTP call on a connection, its answer handed on as it comes off the line. Below undici's streams, for bytes come in pieces of 16 KiB, and each
// would pass through a stream and an iterator.
import type { Client, Dispatcher } from 'undici';

export interface Exchange {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** What comes in several parts is as long as `content-length` says; null: none. */
  readonly body: Uint8Array | AsyncIterable<Uint8Array> | null;
  /** The caller watches over silence by itself: of a long body that is still being sent the line's limits know nothing. */
  readonly isWatched?: boolean;
}

/** Takes a part of the answer's body; the next one comes when what it returns has resolved. What it throws ends the call. */
export type TakePart = (part: Uint8Array, status: number) => Promise<void> | undefined;

/** Returns the status when the whole answer was taken. @throws what undici says of a broken line, the reason of `signal`. */
export function exchange(client: Client, call: Exchange, take: TakePart, signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    let running: Dispatcher.DispatchController | undefined;
    let status = 0;
    const stop = (): void => {
      running?.abort(signal.reason as Error);
      reject(signal.reason as Error);
    };
    const settle = (done: () => void): void => {
      signal.removeEventListener('abort', stop);
      done();
    };
    if (signal.aborted) {
      stop();
      return;
    }
    signal.addEventListener('abort', stop, { once: true });
    const body = call.body as Uint8Array | null; // undici takes what can be iterated too, and does not say so in its types.
    const limits = call.isWatched === true ? { headersTimeout: 0, bodyTimeout: 0 } : {};
    client.dispatch(
      { method: call.method, path: call.path, headers: call.headers, body, ...limits },
      {
        onRequestStart: (controller) => {
          running = controller;
          if (signal.aborted) controller.abort(signal.reason as Error);
        },
        onResponseStart: (_, code) => {
          status = code;
        },
        onResponseData: (controller, part) => {
          const taken = take(part, status);
          if (taken === undefined) return;
          controller.pause();
          taken.then(
            () => controller.resume(),
            (error: unknown) => controller.abort(error as Error),
          );
        },
        onResponseEnd: () => settle(() => resolve(status)),
        onResponseError: (_, error) => settle(() => reject(error)),
      },
    );
  });
}
