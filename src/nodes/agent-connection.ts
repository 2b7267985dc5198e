// The server's end of one control connection: the agent says hello, is let in or told why not, and from then on its messages are handed on. Its
// token is looked at again with each beat, so that one that was taken away ends the connection.
import { ControlLine, type TextSocket } from '../transport/control/control-line.ts';
import { CONTROL_LIMITS, type Heartbeat, PROTOCOL_VERSION } from '../transport/control/limits.ts';
import { AgentMessage, boundedText, type Hello, type ServerMessage } from '../transport/control/messages.ts';
import { HoldfastError } from '../util/errors.ts';
import type { AgentLine } from './node-orders.ts';

export interface ConnectionParts {
  readonly node: string;
  readonly address: string;
  /** Of this program. */
  readonly version: string;
  readonly heartbeat: Heartbeat;
  /** Whether what the connection was let in with is still good. */
  isStillGood(): Promise<boolean>;
  /** Lets the agent in. @throws what is told to it. */
  admit(connection: AgentConnection, hello: Hello): Promise<void>;
  /** After the welcome. */
  onWelcome(connection: AgentConnection, hello: Hello): void;
  onMessage(connection: AgentConnection, message: AgentMessage): void;
  /** With each beat while it is let in. */
  onBeat(connection: AgentConnection): void;
  onClosed(connection: AgentConnection, reason: string): void;
}

export class AgentConnection implements AgentLine {
  readonly node: string;
  readonly address: string;
  readonly #parts: ConnectionParts;
  readonly #line: ControlLine<typeof AgentMessage, ServerMessage>;
  readonly #helloTimer: NodeJS.Timeout;
  #beatTimer: NodeJS.Timeout | undefined;
  #hello: Hello | undefined;

  constructor(socket: TextSocket, parts: ConnectionParts) {
    this.node = parts.node;
    this.address = parts.address;
    this.#parts = parts;
    this.#line = new ControlLine(
      socket,
      AgentMessage,
      {
        onMessage: (message) => this.#onMessage(message),
        onClosed: (reason) => this.#onClosed(reason),
      },
      parts.heartbeat,
    );
    this.#helloTimer = setTimeout(() => this.#line.cut('no hello came'), CONTROL_LIMITS.helloMs);
  }

  /** Of the agent's process; empty before its hello. */
  get instance(): string {
    return this.#hello?.instance ?? '';
  }

  get isClosed(): boolean {
    return this.#line.isClosed;
  }

  send(message: ServerMessage): void {
    this.#line.send(message);
  }

  isAlive(timeoutMs: number): Promise<boolean> {
    return this.#line.isAlive(timeoutMs);
  }

  received(text: string): void {
    this.#line.received(text);
  }

  closed(reason: string): void {
    this.#line.closed(reason);
  }

  cut(reason: string): void {
    this.#line.cut(reason);
  }

  /** Says why, and ends. */
  refuse(error: HoldfastError): void {
    this.send({ type: 'refused', code: error.code, message: boundedText(error.message) });
    this.#line.close('refused');
  }

  #onMessage(message: AgentMessage): void {
    if (message.type === 'hello') {
      this.#greet(message).catch((error: unknown) =>
        this.#line.cut(`a hello that failed: ${(error as Error).message}`),
      );
    } else if (this.#beatTimer === undefined) this.#line.cut('the first message is no hello');
    else this.#parts.onMessage(this, message);
  }

  async #greet(hello: Hello): Promise<void> {
    if (this.#hello !== undefined) {
      this.#line.cut('a second hello');
      return;
    }
    clearTimeout(this.#helloTimer);
    this.#hello = hello;
    try {
      await this.#parts.admit(this, hello);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.refuse(error);
      return;
    }
    if (this.isClosed) return;
    const beat = (): void => {
      this.#beat().catch((error: unknown) => this.#line.cut((error as Error).message));
    };
    this.#beatTimer = setInterval(beat, this.#parts.heartbeat.pingMs);
    this.send({ type: 'welcome', protocol: PROTOCOL_VERSION, version: this.#parts.version });
    this.#parts.onWelcome(this, hello);
  }

  async #beat(): Promise<void> {
    let isGood = false;
    try {
      isGood = await this.#parts.isStillGood();
    } catch {
      // What cannot be looked at is asked again with the next beat.
      return;
    }
    if (this.isClosed) return;
    if (isGood) this.#parts.onBeat(this);
    else
      this.refuse(
        new HoldfastError(
          'not-authenticated',
          `the token of node ${this.node} is good no more: it was removed, disabled or renewed; enrol the node anew`,
        ),
      );
  }

  #onClosed(reason: string): void {
    clearTimeout(this.#helloTimer);
    clearInterval(this.#beatTimer);
    this.#parts.onClosed(this, reason);
  }
}
