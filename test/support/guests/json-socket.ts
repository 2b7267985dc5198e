// A socket on which each line is a piece of JSON, as QEMU's monitor, the guest agent and the test guest speak; in one order, without ids.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { JsonLines } from '../../../src/guests/qmp/json-lines.ts';

export interface JsonLine {
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
  [key: string]: any;
}

export class JsonSocket {
  readonly #socket: Socket;
  readonly #lines: JsonLine[] = [];
  #wake: (() => void) | undefined;
  readonly #parser = new JsonLines({ resync: true });
  #ended: string | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data: Buffer) => this.#take(data));
    socket.on('error', (error) => this.#end(error.message));
    socket.on('close', () => this.#end('the socket was closed'));
  }

  static async connect(path: string): Promise<JsonSocket> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new JsonSocket(socket);
  }

  send(text: string | Buffer): void {
    this.#socket.write(text);
  }

  /** The next line. @throws Error after `timeoutMs`, or when the other side is gone. */
  async next(timeoutMs: number): Promise<JsonLine> {
    const deadline = performance.now() + timeoutMs;
    while (this.#lines.length === 0) {
      if (this.#ended !== undefined) throw new Error(`no answer: ${this.#ended}`);
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`no answer within ${timeoutMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#lines.shift()!;
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(data: Buffer): void {
    this.#lines.push(...(this.#parser.push(data) as JsonLine[]));
    this.#wake?.();
  }

  #end(reason: string): void {
    this.#ended ??= reason;
    this.#wake?.();
  }
}
