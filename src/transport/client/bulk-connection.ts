// One connection to a bulk listener, made when a call needs it and kept for the next. Speaks HTTP/1.1 by itself, below Node's streams: what comes off
// the line lies in one buffer that is used again and again. With a new buffer for each 16 KiB, a parser's copy and a stream, taking 1 GiB of a restore
// cost the main thread 3.5 s of CPU and V8's collector and compiler 1.6 s; now 1.9 s and 0.5 s.
import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { noHttp } from './answer-error.ts';
import { HttpAnswer } from './http-answer.ts';
import type { TrustedLines } from './trusted-line.ts';

/** As much as TLS hands out at once. */
const READ_BYTES = 16 * 1024;
/** The server closes a line that rests for 60 s. */
const KEPT_MS = 50_000;

/** A call whose body is as long as `length` says. */
export interface BulkRequest {
  readonly path: string;
  /** Of `Authorization`. */
  readonly authorization: string;
  readonly length: number;
  readonly body: Uint8Array | AsyncIterable<Uint8Array>;
}

/** Takes a part of the answer's body; the next ones come when what it returns has resolved. What it throws ends the call. */
export type TakePart = (part: Uint8Array, status: number) => Promise<void> | undefined;

/** The call that is under way. */
interface Running {
  /** Returns whether more is wanted now. */
  give(bytes: Uint8Array): boolean;
  lost(error: Error | undefined): void;
}

export class BulkConnection {
  readonly #lines: TrustedLines;
  readonly #origin: URL;
  readonly #keptMs: number;
  #socket: TLSSocket | undefined;
  #running: Running | undefined;
  #usedAtMs = 0;

  /** A line that rested for `keptMs` is made anew. */
  constructor(lines: TrustedLines, origin: string, keptMs = KEPT_MS) {
    this.#keptMs = keptMs;
    this.#lines = lines;
    this.#origin = new URL(origin);
  }

  /**
   * Makes one call after the other; returns the status when the whole answer was taken. Parts of its body are valid until `take` returns.
   * @throws what the system says of a broken line, `protocol-failed`, `server-untrusted`, the reason of `signal`, what `take` throws.
   */
  async exchange(request: BulkRequest, take: TakePart, signal: AbortSignal): Promise<number> {
    if (this.#running !== undefined) throw new Error('calls on one connection follow each other');
    const socket = await this.#connected(signal);
    try {
      return await this.#run(socket, request, take, signal);
    } finally {
      this.#running = undefined;
      this.#usedAtMs = performance.now();
    }
  }

  /** A call that runs ends as with a broken line. */
  close(): void {
    this.#socket?.destroy();
  }

  async #connected(signal: AbortSignal): Promise<TLSSocket> {
    signal.throwIfAborted();
    if (this.#socket?.writable && performance.now() - this.#usedAtMs < this.#keptMs) return this.#socket;
    this.#socket?.destroy();
    let isGreeted = false;
    let made: TLSSocket | undefined;
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (length: number, buffer: Uint8Array): boolean => {
        if (made !== undefined) return this.#read(made, buffer.subarray(0, length));
        isGreeted = true;
        return false;
      },
    };
    const socket = await this.#lines.connect(this.#origin.origin, onread, signal);
    made = socket;
    if (isGreeted) {
      socket.destroy();
      throw noHttp('it speaks before it is asked');
    }
    let failure: Error | undefined;
    socket.on('error', (error) => {
      failure = error;
    });
    socket.once('close', () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      this.#running?.lost(failure);
    });
    this.#socket = socket;
    return socket;
  }

  #read(socket: TLSSocket, bytes: Uint8Array): boolean {
    if (this.#socket === socket && this.#running !== undefined) return this.#running.give(bytes);
    // An answer that nobody asked for.
    socket.destroy();
    return false;
  }

  #run(socket: TLSSocket, request: BulkRequest, take: TakePart, signal: AbortSignal): Promise<number> {
    const answer = new HttpAnswer();
    const over = new AbortController();
    /** What the reader waits for; the last one counts. */
    let pause: Promise<void> | undefined;
    let isSent = false;
    return new Promise((resolve, reject) => {
      const settle = (done: () => void, isKept: boolean): void => {
        if (over.signal.aborted) return;
        over.abort();
        signal.removeEventListener('abort', stop);
        if (!isKept) socket.destroy();
        done();
      };
      const fail = (error: unknown): void => settle(() => reject(error as Error), false);
      const stop = (): void => fail(signal.reason);
      const finish = (): void => {
        if (answer.isOver && pause === undefined) settle(() => resolve(answer.status), answer.isKept && isSent);
      };
      const wait = (until: Promise<void>): void => {
        pause = until;
        const goOn = (): void => {
          if (pause !== until) return;
          pause = undefined;
          finish();
          if (!socket.destroyed) socket.resume();
        };
        until.then(goOn, fail);
      };
      this.#running = {
        give: (bytes) => {
          try {
            answer.give(bytes, (part, status) => {
              const until = take(part, status);
              if (until !== undefined) wait(until);
            });
            finish();
          } catch (error) {
            fail(error);
          }
          return pause === undefined;
        },
        lost: (error) => {
          if (error === undefined && answer.end()) finish();
          else fail(error ?? brokenOff());
        },
      };
      signal.addEventListener('abort', stop, { once: true });
      this.#send(socket, request, over.signal, () => {
        isSent = true;
      }).catch(fail);
    });
  }

  /** Returns when the socket has taken all, or the call is over. `sent` hears when the last byte was given to it: the answer may come before it says so. */
  async #send(
    socket: TLSSocket,
    { path, authorization, length, body }: BulkRequest,
    over: AbortSignal,
    sent: () => void,
  ): Promise<void> {
    const head = Buffer.from(
      `POST ${path} HTTP/1.1\r\nhost: ${this.#origin.host}\r\nconnection: keep-alive\r\nauthorization: ${authorization}\r\n` +
        `content-type: application/octet-stream\r\ncontent-length: ${length}\r\n\r\n`,
      'latin1',
    );
    if (body instanceof Uint8Array) {
      socket.write(Buffer.concat([head, body]));
      sent();
      return;
    }
    socket.write(head);
    let left = length;
    for await (const part of body) {
      if (over.aborted) return;
      const isTaken = socket.write(part);
      left -= part.length;
      if (left === 0) sent();
      if (!isTaken) await once(socket, 'drain', { signal: over }).catch(() => undefined);
    }
  }
}

function brokenOff(): Error {
  return Object.assign(new Error('the server closed the connection in the middle of a call'), { code: 'ECONNRESET' });
}
