// The holder's side of the control socket: runs operations for other processes of the same user while it holds the store.
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { HoldfastError } from '../../util/errors.ts';
import { plainError } from '../../util/plain-error.ts';
import type { HeldDatastore } from '../held-datastore.ts';
import type { Layout } from '../layout.ts';
import type { Operations, Work } from './operation.ts';
import { controlSocketPath } from './socket-path.ts';
import { MAX_REQUEST_CHARS, type Reply, type Request, receive, send } from './wire.ts';

const MAX_CONNECTIONS = 16;
/** How long a connection may take to say what it wants. */
const REQUEST_TIMEOUT_MS = 10_000;
/** What a short operation gets to end by itself when the holder ends. Then it is aborted, and a long one at once: whoever asked goes on alone. */
const GRACE_MS = 2000;
const PROGRESS_EVERY_MS = 100;

export class ControlServer {
  readonly #store: HeldDatastore;
  readonly #path: string;
  readonly #operations: Operations;
  readonly #server: Server;
  readonly #running = new Set<Promise<void>>();
  readonly #connections = new Set<Socket>();
  /** Aborted when the holder ends, and when its grace is over. */
  readonly #ending = new AbortController();
  readonly #ended = new AbortController();

  private constructor(store: HeldDatastore, path: string, operations: Operations) {
    this.#store = store;
    this.#path = path;
    this.#operations = operations;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Listens. Called by the holder only: a socket file that is there belongs to a process that has died. */
  static async start(store: HeldDatastore, layout: Layout, operations: Operations): Promise<ControlServer> {
    const path = controlSocketPath(layout.root);
    const control = new ControlServer(store, path, operations);
    try {
      rmSync(path, { force: true });
      await new Promise<void>((resolve, reject) => {
        control.#server.once('error', reject);
        control.#server.listen(path, resolve);
      });
      // Whoever may connect may do whatever the holder may.
      chmodSync(path, 0o600);
      return control;
    } catch (error) {
      control.#server.close();
      throw error;
    }
  }

  /** Takes no more requests, gives short ones a moment, and aborts what is left; returns when nothing uses the store any more. */
  async close(): Promise<void> {
    rmSync(this.#path, { force: true });
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#ending.abort(ended());
    const grace = setTimeout(() => this.#ended.abort(ended()), GRACE_MS);
    await Promise.all(this.#running);
    clearTimeout(grace);
    for (const socket of this.#connections) socket.destroySoon();
    await closed;
  }

  #accept(socket: Socket): void {
    this.#connections.add(socket);
    const gone = new AbortController();
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy());
    // A connection that breaks ends what it asked for, and nothing else.
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#connections.delete(socket);
      gone.abort(new HoldfastError('aborted', 'the process that asked for this has ended'));
    });
    let asked = false;
    receive(socket, MAX_REQUEST_CHARS, (request) => {
      if (asked) throw new HoldfastError('bad-argument', 'one request a connection');
      asked = true;
      socket.setTimeout(0);
      const served = this.#serve(socket, request as Request, gone.signal).finally(() => {
        socket.end();
        this.#running.delete(served);
      });
      this.#running.add(served);
    });
  }

  /** Answers a request; with nothing at all when the holder ends first: the other side then goes on by itself. */
  async #serve(socket: Socket, request: Request, gone: AbortSignal): Promise<void> {
    let reply: Reply;
    let ending = this.#ended.signal;
    try {
      const operation = this.#operations.get(request.operation);
      if (operation === undefined)
        throw new HoldfastError(
          'bad-argument',
          `the process that holds the datastore does not know ${request.operation}: it is of another version; wait until it ends`,
        );
      ending = operation.isLong ? this.#ending.signal : this.#ended.signal;
      const signal = AbortSignal.any([gone, ending]);
      reply = { result: await operation.run(this.#store, request.argument as never, workOver(socket, signal)) };
    } catch (error) {
      if (ending.aborted) return;
      reply = { error: plainError(error) };
    }
    if (!socket.destroyed) send(socket, reply);
  }
}

function workOver(socket: Socket, signal: AbortSignal): Work {
  let lastProgress = 0;
  const tell = (reply: Reply): void => {
    if (!socket.destroyed) send(socket, reply);
  };
  return {
    signal,
    onProgress: (what, bytesDone, bytesTotal) => {
      const now = performance.now();
      if (now - lastProgress < PROGRESS_EVERY_MS || socket.writableNeedDrain) return;
      lastProgress = now;
      tell({ progress: [what, bytesDone, bytesTotal ?? null] });
    },
    warn: (warning) => tell({ warning }),
  };
}

function ended(): HoldfastError {
  return new HoldfastError('aborted', 'the process that held the datastore ended');
}
