// The NBD server: listens on a unix socket or a TCP port, takes a bounded number of connections, and ends in order.
// Invariant: a socket file is removed only when nobody listens on it any more.
import { chmodSync, lstatSync, type Stats, unlinkSync } from 'node:fs';
import net from 'node:net';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { ByteBudget } from './byte-budget.ts';
import type { NbdAddress } from './channel.ts';
import type { ServedExports } from './served-disk.ts';
import { type ConnectionLimits, ServerConnection } from './server-connection.ts';
import { MAX_REQUEST_BYTES } from './server-handshake.ts';

export interface NbdServerOptions {
  /** Port 0 takes any that is free. */
  readonly address: NbdAddress;
  readonly exports: ServedExports;
  readonly limits?: Partial<ConnectionLimits>;
  /** Told, in one line, of what an administrator should know. */
  report(message: string): void;
}

/** Each may have the bytes of a session on the way: see the cache's smallest size. One that was left counts until nothing of it is at work. */
export const MAX_CONNECTIONS = 32;
/** Memory for answers that must be whole, of all connections. */
const WHOLE_BUDGET_BYTES = 2 * MAX_REQUEST_BYTES;
const LIMITS: ConnectionLimits = { handshakeMs: 10_000, stallMs: 60_000, idleMs: 0 };
/** What requests in flight get to end when the server ends. */
const GRACE_MS = 2000;
/** sun_path holds 108 bytes with its end. */
const MAX_SOCKET_PATH_BYTES = 107;

export class NbdServer {
  readonly #server: net.Server;
  readonly #connections = new Set<ServerConnection>();

  private constructor(options: NbdServerOptions) {
    const budget = new ByteBudget(WHOLE_BUDGET_BYTES);
    const limits = { ...LIMITS, ...options.limits };
    this.#server = net.createServer((socket) => {
      if (this.#connections.size >= MAX_CONNECTIONS) {
        options.report(`a connection was refused: there are ${MAX_CONNECTIONS} already`);
        socket.destroy();
        return;
      }
      const connection = new ServerConnection(socket, { ...options, limits, budget });
      this.#connections.add(connection);
      const forget = (): void => void this.#connections.delete(connection);
      connection.ended.then(forget, forget);
    });
  }

  /** Starts to listen. @throws `exists` when somebody listens there, or something else lies there; `bad-argument`. */
  static async listen(options: NbdServerOptions): Promise<NbdServer> {
    const server = new NbdServer(options);
    if ('socketPath' in options.address) await server.#listenOnPath(options.address.socketPath);
    else await server.#listenOnPort(options.address.host, options.address.port);
    return server;
  }

  /** Where it listens; with the port that was taken. */
  get address(): NbdAddress {
    const address = this.#server.address() as net.AddressInfo | string;
    return typeof address === 'string' ? { socketPath: address } : { host: address.address, port: address.port };
  }

  /** Takes no more connections, answers what is in flight, and returns when nothing is at work any more. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await Promise.all([...this.#connections].map((connection) => connection.stop(GRACE_MS)));
    await closed;
  }

  /** Takes no more connections, and ends those that are there without an answer to what was asked. */
  async cut(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await Promise.all([...this.#connections].map((connection) => connection.cut()));
    await closed;
  }

  async #listenOnPort(host: string, port: number): Promise<void> {
    try {
      await this.#bind({ host, port });
    } catch (error) {
      if (systemCode(error) === 'EADDRINUSE') throw inUse(`${host}:${port}`, error);
      throw cannotListen(`${host}:${port}`, error);
    }
  }

  async #listenOnPath(path: string): Promise<void> {
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
      throw new HoldfastError(
        'bad-argument',
        `the path of the socket is longer than ${MAX_SOCKET_PATH_BYTES} bytes, which the kernel refuses: ${path}`,
      );
    }
    await removeStale(path);
    // Whoever may connect reads every disk; the file is never there with wider permissions.
    const umask = process.umask(0o177);
    try {
      await this.#bind({ path });
    } catch (error) {
      if (systemCode(error) === 'EADDRINUSE') throw inUse(path, error);
      throw cannotListen(path, error);
    } finally {
      process.umask(umask);
    }
    chmodSync(path, 0o600);
  }

  async #bind(where: net.ListenOptions): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(where, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
  }
}

/** Removes the socket of a server that has died. @throws `exists` for anything else. */
async function removeStale(path: string): Promise<void> {
  let stats: Stats;
  try {
    stats = lstatSync(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw cannotListen(path, error);
  }
  if (!stats.isSocket()) {
    throw new HoldfastError('exists', `${path} is there and is no socket; name another path for the server's socket`);
  }
  if (await somebodyListens(path)) throw inUse(path, undefined);
  unlinkSync(path);
}

async function somebodyListens(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = net.connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Only a refusal says that nobody is there: a full backlog (EAGAIN) is that of a living server.
    socket.once('error', (error) => resolve(systemCode(error) !== 'ECONNREFUSED'));
  });
}

function inUse(where: string, cause: unknown): HoldfastError {
  return new HoldfastError('exists', `another server listens on ${where}; stop it, or name another address`, { cause });
}

function cannotListen(where: string, cause: unknown): HoldfastError {
  return new HoldfastError('bad-argument', `cannot listen on ${where}: ${(cause as Error).message}`, { cause });
}
