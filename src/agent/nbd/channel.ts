// A socket whose bytes land in the views that an `Intake` generator yields: no stream buffers, no copy.
// Node calls `buffer()` right after the callback returns, and an empty view stalls the socket for ever, so the generator is
// resumed inside the callback and empty views are passed over. A view is written to only while it is the current one, and
// never after `destroy()`.
import net from 'node:net';
import { HoldfastError } from '../../util/errors.ts';
import type { Intake } from './handshake.ts';

/** A unix socket, or host and port. */
export type NbdAddress = { readonly socketPath: string } | { readonly host: string; readonly port: number };

export interface ChannelOptions {
  address: NbdAddress;
  intake: Intake<void>;
  /** Time without a byte in or out after which `onIdle` is called, again and again while it lasts. */
  timeoutMs: number;
  onIdle(): void;
  /** Called once: what the socket, or the intake, failed with; undefined when the other side closed the connection. */
  onEnd(error: unknown): void;
}

export class Channel {
  readonly #socket: net.Socket;
  readonly #closed: Promise<void>;
  #intake: Intake<void>;
  #target: Uint8Array = new Uint8Array(1);
  #filled = 0;
  #onEnd: ((error: unknown) => void) | undefined;

  constructor({ address, intake, timeoutMs, onIdle, onEnd }: ChannelOptions) {
    this.#intake = intake;
    this.#onEnd = onEnd;
    this.#advance();
    const onread = { buffer: () => this.#free(), callback: (length: number) => this.#arrived(length) };
    this.#socket = net.connect({
      ...('socketPath' in address ? { path: address.socketPath } : { host: address.host, port: address.port }),
      onread,
      noDelay: true,
    } as net.NetConnectOpts);
    this.#socket.on('error', (error) => this.#end(error));
    this.#socket.on('end', () => this.#end(undefined));
    this.#closed = new Promise((resolve) => {
      this.#socket.once('close', () => {
        this.#end(undefined);
        resolve();
      });
    });
    this.#socket.setTimeout(timeoutMs);
    this.#socket.on('timeout', () => {
      onIdle();
      if (!this.#socket.destroyed) this.#socket.setTimeout(timeoutMs);
    });
  }

  /** Messages given together leave in one system call. */
  send(...messages: Uint8Array[]): void {
    this.#socket.write(messages.length === 1 ? messages[0] : Buffer.concat(messages));
  }

  /** Nothing lands in a view any more once this has returned. */
  destroy(): void {
    this.#onEnd = undefined;
    this.#socket.destroy();
  }

  /** Sends a last message and waits for the other side to close, at most a second. */
  async finish(last: Uint8Array): Promise<void> {
    this.#onEnd = undefined;
    this.#socket.end(last);
    const timer = setTimeout(() => this.#socket.destroy(), 1000);
    await this.#closed;
    clearTimeout(timer);
  }

  #free(): Uint8Array {
    return this.#filled === 0 ? this.#target : this.#target.subarray(this.#filled);
  }

  #arrived(length: number): boolean {
    this.#filled += length;
    if (this.#filled < this.#target.length) return true;
    try {
      this.#advance();
    } catch (error) {
      this.#end(error);
    }
    return !this.#socket.destroyed;
  }

  #advance(): void {
    this.#filled = 0;
    let next = this.#intake.next();
    while (!next.done && next.value.length === 0) next = this.#intake.next();
    if (next.done) throw new HoldfastError('source-failed', 'the NBD intake ended');
    this.#target = next.value;
  }

  #end(error: unknown): void {
    const onEnd = this.#onEnd;
    this.#onEnd = undefined;
    // What still arrives before the descriptor is closed must not land in the caller's memory.
    this.#target = new Uint8Array(1);
    this.#filled = 0;
    this.#socket.destroy();
    onEnd?.(error);
  }
}
