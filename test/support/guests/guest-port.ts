// The test guest's ear: commands in words, answers in JSON (init/commands.c has them all).
import { type JsonLine, JsonSocket } from './json-socket.ts';

export class GuestPort {
  readonly #lines: JsonSocket;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(lines: JsonSocket) {
    this.#lines = lines;
  }

  /** To the socket of the virtio-serial port org.holdfast.test; the guest need not be up yet. One connection at a time. */
  static async connect(socketPath: string): Promise<GuestPort> {
    return new GuestPort(await JsonSocket.connect(socketPath));
  }

  /** One command after the other. @throws Error with the guest's words when it refuses, or without an answer. */
  ask(command: string, timeoutMs = 30_000): Promise<JsonLine> {
    const answer = this.#turn.then(async () => {
      this.#lines.send(`${command}\n`);
      const line = await this.#lines.next(timeoutMs);
      if (line.ok !== true) throw new Error(`${command}: ${line.error}`);
      return line;
    });
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  close(): void {
    this.#lines.close();
  }
}
