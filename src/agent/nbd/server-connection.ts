// One client of the NBD server: bytes into the handshake and then into requests, many of them at once, answers out as they are ready.
// Bounded: requests in flight, bytes on the way (by the disk's session), silence in the handshake, and a client that does not read.
import type { Socket } from 'node:net';
import { HoldfastError } from '../../util/errors.ts';
import * as nbd from './protocol.ts';
import type { ServedExports } from './served-disk.ts';
import { type Answerer, answerRequest } from './server-answers.ts';
import { type Agreed, breach, MAX_REQUEST_BYTES, type ServerIntake, serveHandshake, skip } from './server-handshake.ts';
import { decodeRequest, encodeSimpleReply, type ServerRequest } from './server-wire.ts';

export interface ConnectionLimits {
  /** From the connection to the choice of an export. */
  readonly handshakeMs: number;
  /** How long a client may leave unread what it asked for. */
  readonly stallMs: number;
  /** How long a client may ask for nothing; 0 is for ever. */
  readonly idleMs: number;
}

export interface ConnectionOptions {
  readonly exports: ServedExports;
  readonly limits: ConnectionLimits;
  readonly budget: Answerer['budget'];
  report(message: string): void;
}

/** More wait in the socket. */
const MAX_IN_FLIGHT = 64;
const KEEP_ALIVE_MS = 60_000;

export class ServerConnection {
  /** Settles when the connection is closed and nothing of it is at work any more. */
  readonly ended: Promise<void>;
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #intake: ServerIntake<void>;
  readonly #running = new Set<Promise<void>>();
  #target: Uint8Array = new Uint8Array(0);
  #filled = 0;
  /** Bytes that arrived while the intake was waiting. */
  #rest: Uint8Array | undefined;
  #waits = false;
  #room: (() => void) | undefined;
  #isStopping = false;
  #unsent = 0;
  #lastRequestMs = performance.now();

  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    // What breaks a connection is the client's affair; 'close' follows.
    socket.on('error', () => {});
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    this.ended = closed.then(async () => {
      this.#room?.();
      await Promise.all(this.#running);
    });
    this.#intake = this.#session();
    this.#watch();
    socket.on('data', (bytes) => this.#arrived(bytes));
    this.#advance();
  }

  /** Answers what is in flight and closes; what has come to no end after `graceMs` is cut off. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    const timer = setTimeout(() => this.#socket.destroy(), graceMs);
    await Promise.all(this.#running);
    this.#socket.destroySoon();
    await this.ended;
    clearTimeout(timer);
  }

  /** Closes at once: what is in flight is not answered, neither well nor badly. */
  async cut(): Promise<void> {
    this.#isStopping = true;
    this.#socket.destroy();
    await this.ended;
  }

  *#session(): ServerIntake<void> {
    const { exports, limits, report } = this.#options;
    const timer = setTimeout(() => this.#socket.destroy(), limits.handshakeMs);
    this.#socket.once('close', () => clearTimeout(timer));
    let flushed: Promise<void> = Promise.resolve();
    const send = (...messages: Uint8Array[]): void => {
      flushed = new Promise((resolve) => this.#write(messages, resolve));
    };
    const agreed = yield* serveHandshake({ exports, report, send, flushed: () => flushed });
    clearTimeout(timer);
    if (agreed !== undefined) yield* this.#requests(agreed);
    this.#isStopping = true;
    // Not only ended: a client that never closes its side must not keep the connection.
    yield Promise.all(this.#running).then(() => this.#socket.destroySoon());
  }

  *#requests(agreed: Agreed): ServerIntake<void> {
    const answerer: Answerer = {
      ...agreed,
      session: agreed.disk.connect(),
      budget: this.#options.budget,
      isClosed: () => this.#socket.destroyed,
      send: (...messages) => new Promise((resolve) => this.#write(messages, resolve)),
      report: this.#options.report,
    };
    const header = new Uint8Array(nbd.REQUEST_BYTES);
    for (;;) {
      yield header;
      const request = decodeRequest(header);
      if (request === undefined) throw breach('a request without the magic');
      this.#lastRequestMs = performance.now();
      if (request.command === nbd.COMMAND.disconnect) return;
      if (request.command === nbd.COMMAND.write) yield* this.#passPayload(request);
      if (this.#isStopping) this.#write([encodeSimpleReply(request.cookie, nbd.ERRNO.ESHUTDOWN)], () => {});
      else this.#start(answerRequest(answerer, request));
      if (this.#running.size >= MAX_IN_FLIGHT) {
        yield new Promise<void>((resolve) => {
          this.#room = resolve;
        });
      }
    }
  }

  /** What a client wants to write follows its request, and is not wanted here. */
  *#passPayload(request: ServerRequest): ServerIntake<void> {
    if (request.length > MAX_REQUEST_BYTES) throw breach(`a write of ${request.length} bytes`);
    yield* skip(request.length);
  }

  #start(work: Promise<void>): void {
    const running = work
      .catch((error: unknown) => {
        // An answer that was begun cannot be taken back: the client learns of it by the end of the connection.
        this.#options.report(`an NBD connection was closed: ${(error as Error).stack ?? String(error)}`);
        this.#socket.destroy();
      })
      .finally(() => {
        this.#running.delete(running);
        const room = this.#room;
        this.#room = undefined;
        room?.();
      });
    this.#running.add(running);
  }

  /** `done` is called when the bytes are out of our hands, also when the connection broke. */
  #write(messages: readonly Uint8Array[], done: () => void): void {
    if (this.#socket.destroyed || messages.length === 0) {
      done();
      return;
    }
    this.#unsent++;
    const sent = (): void => {
      this.#unsent--;
      done();
    };
    this.#socket.cork();
    messages.forEach((message, place) => {
      this.#socket.write(message, place === messages.length - 1 ? sent : undefined);
    });
    this.#socket.uncork();
  }

  #arrived(bytes: Uint8Array): void {
    if (this.#waits) {
      this.#rest = this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes]);
      this.#socket.pause();
      return;
    }
    let at = 0;
    while (at < bytes.length && !this.#waits && !this.#socket.destroyed) {
      const part = bytes.subarray(at, at + this.#target.length - this.#filled);
      this.#target.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === this.#target.length) this.#advance();
    }
    if (at < bytes.length && this.#waits) {
      this.#rest = bytes.subarray(at);
      this.#socket.pause();
    }
  }

  #advance(): void {
    this.#filled = 0;
    try {
      let next = this.#intake.next();
      while (!next.done && !(next.value instanceof Promise) && next.value.length === 0) next = this.#intake.next();
      if (next.done) this.#target = new Uint8Array(65_536);
      else if (next.value instanceof Promise) this.#waitFor(next.value);
      else this.#target = next.value;
    } catch (error) {
      const known = error instanceof HoldfastError;
      this.#options.report(known ? error.message : `a bug: ${(error as Error).stack ?? String(error)}`);
      this.#socket.destroy();
    }
  }

  #waitFor(promise: Promise<void>): void {
    this.#waits = true;
    const goOn = (): void => {
      this.#waits = false;
      this.#advance();
      const rest = this.#rest;
      this.#rest = undefined;
      if (rest !== undefined) this.#arrived(rest);
      if (!this.#waits) this.#socket.resume();
    };
    promise.then(goOn).catch((error: unknown) => {
      this.#options.report(`a bug: ${(error as Error).stack ?? String(error)}`);
      this.#socket.destroy();
    });
  }

  /** Ends clients that do not take what they asked for, and idle ones when that is wanted. */
  #watch(): void {
    const { stallMs, idleMs } = this.#options.limits;
    const checkMs = idleMs > 0 ? Math.min(stallMs, idleMs) : stallMs;
    this.#socket.setTimeout(checkMs);
    this.#socket.on('timeout', () => {
      const isIdle = idleMs > 0 && this.#running.size === 0 && performance.now() - this.#lastRequestMs >= idleMs;
      if (this.#unsent > 0 || isIdle) this.#socket.destroy();
      else this.#socket.setTimeout(checkMs);
    });
  }
}
