// A socket on which each line is a piece of JSON, as QEMU's monitor, the guest agent and the test guest speak; in one order, without ids.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface JsonLine {
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
  [key: string]: any;
}

export class JsonLines {
  readonly #socket: Socket;
  readonly #lines: JsonLine[] = [];
  #wake: (() => void) | undefined;
  #text = '';
  #ended: string | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    // The sentinel byte of the agent is no UTF-8 and stands before a line.
    socket.setEncoding('latin1');
    socket.on('data', (data: string) => this.#take(data));
    socket.on('error', (error) => this.#end(error.message));
    socket.on('close', () => this.#end('the socket was closed'));
  }

  static async connect(path: string): Promise<JsonLines> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new JsonLines(socket);
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

  #take(data: string): void {
    const parts = (this.#text + data).split('\n');
    this.#text = parts.pop()!;
    for (const line of parts.map((part) => part.slice(part.lastIndexOf('\xff') + 1).trim()))
      if (line !== '') this.#lines.push(JSON.parse(Buffer.from(line, 'latin1').toString()) as JsonLine);
    this.#wake?.();
  }

  #end(reason: string): void {
    this.#ended ??= reason;
    this.#wake?.();
  }
}
