// One HTTP call on a connection of undici's, its answer handed on as it comes, below its streams: they load more of it.
import type { Client, Dispatcher } from 'undici';

export interface Exchange {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | null;
}

/** Returns the status when the whole answer was taken. What `take` throws ends the call. @throws what undici says of a broken line, the reason of `signal`. */
export function exchange(
  client: Client,
  call: Exchange,
  take: (part: Uint8Array) => void,
  signal: AbortSignal,
): Promise<number> {
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
    client.dispatch(call, {
      onRequestStart: (controller) => {
        running = controller;
        if (signal.aborted) controller.abort(signal.reason as Error);
      },
      onResponseStart: (_, code) => {
        status = code;
      },
      onResponseData: (_, part) => take(part),
      onResponseEnd: () => settle(() => resolve(status)),
      onResponseError: (_, error) => settle(() => reject(error)),
    });
  });
}
