// A line between a client and a server with what lines have: a round trip, a bandwidth, and moments when it is cut. Works in user space on
// bytes, and counts them. Bandwidth is of all connections together, for each direction by itself.
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface LineOptions {
  /** Half of it in each direction. */
  readonly roundTripMs?: number;
  readonly bytesPerSecond?: number;
}

export interface LineTarget {
  readonly host: string;
  readonly ports: readonly number[];
}

/** A direction of a connection takes no more bytes while it has those of so long a time, and of the way, under way. */
const QUEUE_MS = 50;
const UNLIMITED_WINDOW_BYTES = 4 * 1024 * 1024;

/** When bytes may pass that share a bandwidth. */
class Pace {
  #bytesPerMs = Number.POSITIVE_INFINITY;
  #freeAtMs = 0;

  constructor(bytesPerSecond: number | undefined) {
    this.limit(bytesPerSecond);
  }

  /** From now on. */
  limit(bytesPerSecond: number | undefined): void {
    this.#bytesPerMs = (bytesPerSecond ?? Number.POSITIVE_INFINITY) / 1000;
  }

  /** The moment when the last of these bytes has passed. */
  passes(bytes: number, nowMs: number): number {
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + bytes / this.#bytesPerMs;
    return this.#freeAtMs;
  }
}

export class TcpProxy {
  readonly host: string;
  /** Bytes that were handed on to the server, and from it to clients. */
  bytesUp = 0;
  bytesDown = 0;
  /** Connections up to now. */
  connections = 0;
  /** How often a line was cut that was open. */
  cuts = 0;
  readonly #servers: Server[] = [];
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  readonly #delayMs: number;
  readonly #windowBytes: number;
  readonly #up: Pace;
  readonly #down: Pace;
  #watchers: (() => void)[] = [];

  private constructor(host: string, { roundTripMs = 0, bytesPerSecond }: LineOptions) {
    this.host = host;
    this.#delayMs = roundTripMs / 2;
    this.#windowBytes =
      bytesPerSecond === undefined ? UNLIMITED_WINDOW_BYTES : (bytesPerSecond * (this.#delayMs + QUEUE_MS)) / 1000;
    this.#up = new Pace(bytesPerSecond);
    this.#down = new Pace(bytesPerSecond);
  }

  /** Listens at `host`, an address of this machine that the target does not use, on the same ports as the target. */
  static async start(host: string, target: LineTarget, options: LineOptions = {}): Promise<TcpProxy> {
    const proxy = new TcpProxy(host, options);
    for (const port of target.ports) {
      const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) =>
        proxy.#join(client, target.host, port),
      );
      server.listen(port, host);
      await once(server, 'listening');
      proxy.#servers.push(server);
    }
    return proxy;
  }

  /** The bandwidth from now on; undefined: none is kept. */
  limit(bytesPerSecond: number | undefined): void {
    this.#up.limit(bytesPerSecond);
    this.#down.limit(bytesPerSecond);
  }

  /** Breaks all connections; what was under way is lost. New ones can be made at once. */
  cut(): void {
    if (this.#pairs.size > 0) this.cuts++;
    for (const [client, server] of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  /** Waits until so many bytes in all went to the server. */
  async passed(bytesUp: number, signal: AbortSignal): Promise<void> {
    while (this.bytesUp < bytesUp) {
      signal.throwIfAborted();
      await Promise.race([
        new Promise<void>((resolve) => this.#watchers.push(resolve)),
        sleep(100, undefined, { ref: false }),
      ]);
    }
  }

  async close(): Promise<void> {
    for (const [client, server] of this.#pairs) {
      client.destroy();
      server.destroy();
    }
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  #join(client: Socket, host: string, port: number): void {
    this.connections++;
    const server = connect({ host, port, noDelay: true, allowHalfOpen: true });
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    for (const socket of pair) {
      // Which error it was, the other side would not learn over a line either.
      socket.on('error', () => {});
      socket.once('close', () => void (pair.every((each) => each.destroyed) && this.#pairs.delete(pair)));
    }
    const way = { delayMs: this.#delayMs, windowBytes: this.#windowBytes };
    carry(client, server, { ...way, pace: this.#up }, (bytes) => {
      this.bytesUp += bytes;
      for (const watch of this.#watchers.splice(0)) watch();
    });
    carry(server, client, { ...way, pace: this.#down }, (bytes) => {
      this.bytesDown += bytes;
    });
  }
}

interface Way {
  readonly pace: Pace;
  readonly delayMs: number;
  readonly windowBytes: number;
}

/** Hands bytes on when their time has come: after the line took them up, and the way. The end follows the last of them. */
function carry(from: Socket, to: Socket, { pace, delayMs, windowBytes }: Way, count: (bytes: number) => void): void {
  const queue: { readonly bytes: Buffer; readonly atMs: number }[] = [];
  let held = 0;
  let isEnded = false;
  let isFull = false;
  let timer: NodeJS.Timeout | undefined;
  const hand = (): void => {
    clearTimeout(timer);
    timer = undefined;
    for (let next = queue[0]; next !== undefined && !isFull && !to.destroyed; next = queue[0]) {
      const waitMs = next.atMs - performance.now();
      if (waitMs >= 1) {
        timer = setTimeout(hand, waitMs);
        break;
      }
      queue.shift();
      held -= next.bytes.length;
      count(next.bytes.length);
      isFull = !to.write(next.bytes);
    }
    if (held < windowBytes && !isFull) from.resume();
    if (queue.length === 0 && isEnded) to.end();
  };
  to.on('drain', () => {
    isFull = false;
    hand();
  });
  from.on('data', (bytes: Buffer) => {
    queue.push({ bytes, atMs: pace.passes(bytes.length, performance.now()) + delayMs });
    held += bytes.length;
    if (held >= windowBytes) from.pause();
    if (timer === undefined && !isFull) hand();
  });
  from.on('end', () => {
    isEnded = true;
    if (queue.length === 0) to.end();
  });
  // One that broke breaks the other; one that ended in order has more under way.
  from.on('close', () => void (isEnded || to.destroy()));
  to.on('close', () => clearTimeout(timer));
}
