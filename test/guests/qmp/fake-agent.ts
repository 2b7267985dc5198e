// A server of the guest agent's wire protocol with a file system that can be frozen, and faults on demand. Like the real one it does one
// thing after the other, over all connections, and answers into whatever connection is there.
import type { Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { listen } from './qemu-monitor.ts';

interface Request {
  readonly execute: string;
  readonly arguments?: { readonly id?: number; readonly mode?: string };
}

export class FakeAgent {
  socketPath = '';
  frozen = false;
  /** Commands that it did, without the syncs. */
  readonly done: string[] = [];
  /** What to do instead; returns the bytes to send, or nothing for the usual. */
  instead: (command: string) => Promise<string | undefined> | string | undefined = () => undefined;
  /** Sent to each new connection: what was left from before. */
  stale = '';
  /** Bytes of a write. */
  pieceBytes = 4096;
  #busy: Promise<void> = Promise.resolve();
  #socket: Socket | undefined;

  static async start(t: Pick<TestContext, 'after'>): Promise<FakeAgent> {
    const agent = new FakeAgent();
    agent.socketPath = await listen(t, (socket) => agent.#serve(socket));
    return agent;
  }

  hangUp(): void {
    this.#socket?.destroy();
  }

  #serve(socket: Socket): void {
    this.#socket = socket;
    if (this.stale !== '') socket.write(this.stale);
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) {
        const request = JSON.parse(line.slice(line.lastIndexOf('\xff') + 1)) as Request;
        this.#busy = this.#busy.then(() => this.#do(request));
      }
    });
  }

  async #do(request: Request): Promise<void> {
    const { execute } = request;
    if (execute !== 'guest-sync-delimited') this.done.push(execute);
    const answer = Buffer.from((await this.instead(execute)) ?? this.#answer(request), 'latin1');
    for (let at = 0; at < answer.length; at += this.pieceBytes) {
      this.#socket?.write(answer.subarray(at, at + this.pieceBytes));
      if (this.pieceBytes < 4096) await sleep(0);
    }
  }

  #answer({ execute, arguments: args }: Request): string {
    const say = (value: unknown) => `${JSON.stringify({ return: value })}\n`;
    if (execute === 'guest-sync-delimited') return `\xff${say(args!.id)}`;
    if (execute === 'guest-fsfreeze-status') return say(this.frozen ? 'frozen' : 'thawed');
    if (execute === 'guest-fsfreeze-freeze' || execute === 'guest-fsfreeze-thaw') {
      const count = this.frozen === (execute === 'guest-fsfreeze-freeze') ? 0 : 2;
      this.frozen = execute === 'guest-fsfreeze-freeze';
      return say(count);
    }
    if (execute === 'guest-ping') return say({});
    if (execute === 'guest-shutdown') return '';
    return `{"error": {"class": "CommandNotFound", "desc": "The command ${execute} has not been found"}}\n`;
  }
}
