// A WebSocket with a serial port of a guest behind it. The client says who it is, is told `OK`, and from then on what it types goes to the guest, and
// what the guest writes comes as it is. Whatever ends one of client, guest and right ends all of it.
import type { Duplex } from 'node:stream';
import type { MessageReceiver, MessageSocket } from '../../services.ts';
import { ConsoleReader } from './console-input.ts';
import type { GuestConsole } from './guest-console.ts';

const GREETING_MS = 10_000;
/** What a client gets to answer a goodbye. */
const GOODBYE_MS = 2_000;
/** Typed, and not read by the guest. */
const MAX_WAITING_BYTES = 1 << 20;
/** A WebSocket takes 123 bytes. */
const MAX_REASON_BYTES = 120;

export interface ConsoleLineParts {
  /** Connects to the guest. */
  open(signal: AbortSignal): Promise<Duplex>;
  /** Asked again and again. */
  mayGoOn(): Promise<boolean>;
  readonly rightsEveryMs: number;
}

export class ConsoleLine implements MessageReceiver {
  readonly #console: GuestConsole;
  readonly #socket: MessageSocket;
  readonly #parts: ConsoleLineParts;
  readonly #reader = new ConsoleReader();
  readonly #ended = new AbortController();
  readonly #timers: NodeJS.Timeout[];
  #serial: Duplex | undefined;
  #goodbye: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(console: GuestConsole, socket: MessageSocket, parts: ConsoleLineParts) {
    this.#console = console;
    this.#socket = socket;
    this.#parts = parts;
    this.#timers = [
      setTimeout(() => {
        if (this.#serial === undefined) console.end('the client did not say who it is');
      }, GREETING_MS),
      setInterval(() => {
        this.#lookAtRights().catch((error: Error) => console.end(error.message));
      }, parts.rightsEveryMs),
    ];
    console.over.then(
      (reason) => this.#close(reason),
      () => undefined,
    );
  }

  received(text: string): void {
    this.receivedBytes(Buffer.from(text));
  }

  receivedBytes(bytes: Buffer): void {
    if (this.#ended.signal.aborted) return;
    try {
      for (const input of this.#reader.push(bytes)) {
        if (input.kind === 'greeting') this.#greeted(input.text);
        else if (input.kind === 'typed') this.#typed(input.bytes);
      }
    } catch (error) {
      this.#console.end((error as Error).message);
    }
  }

  closed(): void {
    this.#isClosed = true;
    clearTimeout(this.#goodbye);
    this.#console.end('the client went away');
  }

  #greeted(text: string): void {
    const { authId, ticket } = this.#console;
    if (text !== `${authId}:${ticket}`) this.#console.end('the client showed another ticket');
    else this.#open().catch((error: Error) => this.#console.end(error.message));
  }

  async #open(): Promise<void> {
    const serial = await this.#parts.open(this.#ended.signal);
    serial.on('error', () => serial.destroy());
    serial.once('close', () => this.#console.end('the guest has ended'));
    if (this.#ended.signal.aborted) return void serial.destroy();
    this.#serial = serial;
    // A message of its own: clients compare the whole of it.
    this.#socket.sendBytes(Buffer.from('OK'));
    serial.on('data', (bytes: Buffer) => {
      serial.pause();
      this.#socket.sendBytes(bytes, () => serial.resume());
    });
  }

  #typed(bytes: Buffer): void {
    this.#serial?.write(bytes);
    if (this.#serial === undefined) this.#console.end('the client did not wait until it was let in');
    else if (this.#serial.writableLength > MAX_WAITING_BYTES)
      this.#console.end('the guest does not read what is typed');
  }

  async #lookAtRights(): Promise<void> {
    if (!(await this.#parts.mayGoOn())) this.#console.end('the right to the console is gone');
  }

  #close(reason: string): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#ended.abort(new Error(reason));
    this.#serial?.destroy();
    if (this.#isClosed) return;
    this.#socket.close(Buffer.from(reason).subarray(0, MAX_REASON_BYTES).toString());
    this.#goodbye = setTimeout(() => this.#socket.terminate(), GOODBYE_MS);
  }
}
