// One connection of a bulk listener: TLS, and on it requests of HTTP/1.1 that follow each other, each handed on with its answer to be written. What is
// no such request, comes before its turn or takes too long ends the connection.
import type { SecureContext, TLSSocket } from 'node:tls';
import { HANDSHAKE_MS, HEADER_MS, REQUEST_MS } from './bulk-limits.ts';
import { CallAnswer } from './call-answer.ts';
import { HttpRequest } from './http-request.ts';
import { RequestBody } from './request-body.ts';
import { secureSocket } from './secure-socket.ts';

/** One request from its header on, its body as it comes, and its answer. */
export interface HttpCall {
  readonly request: Pick<HttpRequest, 'method' | 'target' | 'authorization' | 'announcedBytes'>;
  readonly body: RequestBody;
  readonly answer: CallAnswer;
  /** Ends the connection at once. */
  destroy(): void;
}

export interface HttpConnectionOptions {
  /** The connection's own from now on. */
  readonly fd: number;
  readonly secureContext: SecureContext;
  /** It is closed when no byte moves for so long. */
  readonly idleMs: number;
  /** Answers a call. */
  readonly answer: (call: HttpCall) => void;
  readonly closed: () => void;
}

export class HttpConnection {
  readonly #options: HttpConnectionOptions;
  readonly #socket: TLSSocket;
  #request = new HttpRequest();
  #body = new RequestBody(() => this.#wake());
  #isAnswering = false;
  #isSecure = false;
  #isClosing = false;
  /** Since when the handshake, or what is to come of a request, is waited for; undefined when none is. */
  #awaitedSinceMs: number | undefined;
  #movedBytes = 0;
  #movedMs: number;

  /** @throws when the descriptor is no connection. */
  constructor(options: HttpConnectionOptions) {
    this.#options = options;
    this.#awaitedSinceMs = this.#movedMs = performance.now();
    const socket = secureSocket(options.fd, options.secureContext, (bytes) => this.#read(bytes));
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.once('secure', () => {
      this.#isSecure = true;
      this.#awaitedSinceMs = performance.now();
    });
    socket.on('end', () => this.#halfClosed());
    // Node hands errors of TLS that come later to whoever made the socket, by a name of its own.
    for (const trouble of ['error', '_tlsError']) socket.on(trouble, () => socket.destroy());
    socket.once('close', () => {
      this.#body.lose();
      options.closed();
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Ends it when it has taken longer than it may; to be called now and then. */
  check(): void {
    const now = performance.now();
    const { idleMs } = this.#options;
    const movedBytes = this.#socket.bytesRead + this.#socket.bytesWritten;
    if (movedBytes !== this.#movedBytes) this.#movedMs = now;
    this.#movedBytes = movedBytes;
    const isLate = this.#awaitedSinceMs !== undefined && now - this.#awaitedSinceMs > this.#allowedMs();
    if (isLate || now - this.#movedMs > idleMs) this.#socket.destroy();
  }

  #allowedMs(): number {
    if (this.#request.hasHead) return REQUEST_MS;
    return Math.min(this.#isSecure ? HEADER_MS : HANDSHAKE_MS, this.#options.idleMs);
  }

  /** Returns whether more is wanted now. */
  #read(bytes: Buffer): boolean {
    // The answer is still on its way: whoever stops reading now may make the client lose it.
    if (this.#isClosing) return true;
    const request = this.#request;
    try {
      this.#awaitedSinceMs ??= performance.now();
      const taken = request.give(bytes, (part) => this.#body.give(part as Buffer));
      // A call that does not wait for its turn.
      if (taken < bytes.length) throw new Error('calls on one connection follow each other');
    } catch {
      this.#socket.destroy();
      return false;
    }
    if (request.isOver) {
      this.#awaitedSinceMs = undefined;
      if (!this.#body.isWhole) this.#body.finish();
    }
    if (request.hasHead && !this.#isAnswering) this.#call(request);
    // Behind a request only the end of the connection can come.
    return !request.hasHead || request.isOver || !this.#body.isPaused;
  }

  #call(request: HttpRequest): void {
    this.#isAnswering = true;
    if (request.wantsContinue && !request.isOver) this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1');
    const { method, isHttp10 } = request;
    const to = {
      method,
      isHttp10,
      // Of a body that is not read to its end nobody knows where the next request begins.
      get isKept() {
        return request.isKept && request.isOver;
      },
    };
    const answer = new CallAnswer(this.#socket, to, (isKept) => this.#answered(isKept));
    this.#options.answer({ request, body: this.#body, answer, destroy: () => this.#socket.destroy() });
  }

  #answered(isKept: boolean): void {
    this.#isAnswering = false;
    this.#request = new HttpRequest();
    this.#body = new RequestBody(() => this.#wake());
    if (!isKept || this.#socket.readableEnded) this.#close();
    // Who failed in the middle of a rest did not end it.
    else this.#wake();
  }

  #wake(): void {
    if (!this.#socket.destroyed) this.#socket.resume();
  }

  /** The client says no more: what it asked for is answered all the same. */
  #halfClosed(): void {
    if (this.#isAnswering && this.#request.isOver) return;
    if (this.#isAnswering) this.#body.lose();
    this.#close();
  }

  #close(): void {
    this.#isClosing = true;
    this.#awaitedSinceMs = undefined;
    this.#socket.destroySoon();
  }
}
