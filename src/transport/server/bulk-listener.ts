// The bulk listener of one datastore, in the main thread: accepts connections and hands each to the worker thread that has the fewest. Several
// threads that accept on one socket would not share out: whichever wakes up first takes all that wait (8 connections at once went 0 to 8 or
// 2 to 6), and a client would get one processor for its four connections.
import { createServer, type Server, type Socket } from 'node:net';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { MAX_CONNECTIONS } from './bulk-limits.ts';
import type { BulkListen, Certificate } from './bulk-thread.ts';

export interface BulkListenerOptions {
  readonly pool: Pick<WorkerPool, 'size' | 'call' | 'all'>;
  readonly address: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly certificate: Certificate;
  /** Another descriptor of the same socket, or a negative errno. */
  readonly duplicate: (fd: number) => number;
  /** Hears of connections that could not be handed over. */
  readonly report: (error: unknown) => void;
  /** Instead of the usual 60 seconds. */
  readonly idleConnectionMs?: number;
}

export class BulkListener {
  readonly port: number;
  readonly #options: BulkListenerOptions;
  readonly #server: Server;
  readonly #counts: Int32Array<SharedArrayBuffer>;

  private constructor(options: BulkListenerOptions, server: Server, counts: Int32Array<SharedArrayBuffer>) {
    this.#options = options;
    this.#server = server;
    this.#counts = counts;
    this.port = (server.address() as { port: number }).port;
  }

  /** Listens. @throws `bad-argument` when the address cannot be used. */
  static async start(options: BulkListenerOptions): Promise<BulkListener> {
    const { pool, address, port, certificate, idleConnectionMs } = options;
    const connections = new SharedArrayBuffer(pool.size * 4);
    const threads = Array.from({ length: pool.size }, (_, thread) => thread);
    await Promise.all(
      threads.map((thread) => {
        const listen: BulkListen = { ...certificate, connections, thread, idleConnectionMs };
        return pool.call(thread, 'bulk.listen', listen);
      }),
    );
    // Not a byte is read here, also none that waits when the connection is accepted.
    const server = createServer({ pauseOnConnect: true });
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, address, () => resolve());
      });
    } catch (cause) {
      await pool.all('bulk.stop', undefined);
      throw new HoldfastError('bad-argument', `cannot listen on ${address} port ${port}: ${(cause as Error).message}`, {
        cause,
      });
    }
    const listener = new BulkListener(options, server, new Int32Array(connections));
    server.on('connection', (socket) => listener.#handOver(socket));
    server.on('error', options.report);
    return listener;
  }

  /** How many connections each thread has. */
  get connections(): readonly number[] {
    return [...this.#counts];
  }

  /** Connections from now on get this certificate. @throws when it cannot be used. */
  async secure(certificate: Certificate): Promise<void> {
    await this.#options.pool.all('bulk.secure', certificate);
  }

  /** Closes the port and every connection; the sessions' calls end. */
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    await this.#options.pool.all('bulk.stop', undefined);
    await closed;
  }

  #handOver(socket: Socket): void {
    const thread = this.#quietest();
    const total = this.#counts.reduce((sum, count) => sum + count, 0);
    const fd = total >= MAX_CONNECTIONS ? -1 : this.#options.duplicate(handleOf(socket));
    // The connection stays open for as long as one descriptor of it is.
    socket.destroy();
    if (fd < 0) return;
    Atomics.add(this.#counts, thread, 1);
    this.#options.pool.call(thread, 'bulk.connection', fd).catch((error: unknown) => {
      // The descriptor may have been taken, and its number be another file's by now: a thread that fails costs one.
      Atomics.sub(this.#counts, thread, 1);
      this.#options.report(error);
    });
  }

  #quietest(): number {
    let quietest = 0;
    for (let thread = 1; thread < this.#counts.length; thread++)
      if (Atomics.load(this.#counts, thread) < Atomics.load(this.#counts, quietest)) quietest = thread;
    return quietest;
  }
}

/** The descriptor of a socket, which Node keeps to itself. */
function handleOf(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } | null })._handle?.fd ?? -1;
}
