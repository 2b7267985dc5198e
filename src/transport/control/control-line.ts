// One end of a control connection: checked messages both ways, a heartbeat, and bounds on what may wait. The same at the agent and at the
// server; what carries the texts is given.
import type { Static, TSchema } from 'typebox';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import { CONTROL_LIMITS, type Heartbeat, USUAL_HEARTBEAT } from './limits.ts';

/** What carries texts: a WebSocket, or a pair of them in one process. */
export interface TextSocket {
  send(text: string): void;
  /** Bytes that were given to `send` and not taken by the line. */
  readonly bufferedAmount: number;
  /** Says goodbye; what was sent before still goes out. */
  close(reason: string): void;
  /** Cuts the line at once. */
  terminate(): void;
}

export interface LineEnd<Message> {
  onMessage(message: Message): void;
  /** Once, after which nothing more is told. `reason` says why, for people. */
  onClosed(reason: string): void;
}

export class ControlLine<In extends TSchema, Out extends { readonly type: string }> {
  readonly #socket: TextSocket;
  readonly #inbound: In;
  readonly #end: LineEnd<Static<In>>;
  readonly #heartbeat: Heartbeat;
  readonly #timer: NodeJS.Timeout;
  #heardAtMs = performance.now();
  #waiters: (() => void)[] = [];
  #isClosed = false;

  /** `inbound` is the schema of what the other end may say. */
  constructor(socket: TextSocket, inbound: In, end: LineEnd<Static<In>>, heartbeat: Heartbeat = USUAL_HEARTBEAT) {
    this.#socket = socket;
    this.#inbound = inbound;
    this.#end = end;
    this.#heartbeat = heartbeat;
    this.#timer = setInterval(() => this.#beat(), heartbeat.pingMs);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Nothing happens on a line that is closed. What does not fit into a message, or waits for too long, cuts the line. */
  send(message: Out): void {
    this.#send(JSON.stringify(message));
  }

  /** To be called with each text that arrives. */
  received(text: string): void {
    if (this.#isClosed) return;
    this.#heardAtMs = performance.now();
    for (const waiter of this.#waiters.splice(0)) waiter();
    let message: { readonly type: string };
    try {
      if (Buffer.byteLength(text) > CONTROL_LIMITS.messageBytes) throw new JsonShapeError('it is too long');
      message = parseJson(text, this.#inbound) as { readonly type: string };
    } catch (error) {
      if (!(error instanceof JsonShapeError)) throw error;
      this.cut(`a message that is none: ${error.message}`);
      return;
    }
    if (message.type === 'ping') this.#send('{"type":"pong"}');
    else if (message.type !== 'pong') this.#end.onMessage(message as Static<In>);
  }

  /** Whether the other end says anything within the time. */
  async isAlive(timeoutMs: number): Promise<boolean> {
    if (this.#isClosed) return false;
    const since = this.#heardAtMs;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#waiters.push(() => {
        clearTimeout(timer);
        resolve();
      });
      this.#send('{"type":"ping"}');
    });
    return !this.#isClosed && this.#heardAtMs > since;
  }

  /** Ends the line in order: what was sent before arrives. */
  close(reason: string): void {
    if (this.#isClosed) return;
    this.#socket.close(reason);
    this.closed(reason);
  }

  /** Ends the line at once. */
  cut(reason: string): void {
    if (this.#isClosed) return;
    this.#socket.terminate();
    this.closed(reason);
  }

  /** To be called when what carries the texts has ended. */
  closed(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    for (const waiter of this.#waiters.splice(0)) waiter();
    this.#end.onClosed(reason);
  }

  #send(text: string): void {
    if (this.#isClosed) return;
    if (this.#socket.bufferedAmount > CONTROL_LIMITS.waitingBytes) {
      this.cut(`${this.#socket.bufferedAmount} bytes wait for the other end, which does not read`);
      return;
    }
    if (Buffer.byteLength(text) > CONTROL_LIMITS.messageBytes)
      throw new RangeError(`a message of ${text.length} characters is longer than the line takes`);
    this.#socket.send(text);
  }

  #beat(): void {
    const silentMs = performance.now() - this.#heardAtMs;
    if (silentMs > this.#heartbeat.deadMs) this.cut(`nothing was heard for ${Math.round(silentMs / 1000)} s`);
    else this.#send('{"type":"ping"}');
  }
}
