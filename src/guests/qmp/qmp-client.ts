// Client of QEMU's monitor (docs/interop/qmp-spec): commands with ids, several under way at once, and events. A monitor serves one client.
// Whatever waits here ends: with its answer, its timeout, its signal, or the connection.
import type { Socket } from 'node:net';
import { HoldfastError } from '../../util/errors.ts';
import { JsonLines } from './json-lines.ts';
import { openSocket } from './open-socket.ts';
import { type Wait, waitFor } from './wait-for.ts';

/** Commands that QEMU has not answered, those whose caller gave up among them. QEMU itself takes 8 and leaves the rest in the socket. */
export const MAX_PENDING = 64;

export interface QmpConnectOptions {
  /** For connecting, greeting and capabilities together; default 10 s. */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  /** Names the guest in messages, such as `VM 101`; default the socket's path. */
  label?: string;
}

export interface QmpCallOptions {
  /** Default 30 s. */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

export interface QmpVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  /** The distribution's words, such as `Debian 1:7.2+dfsg-7+deb12u18`. */
  readonly package: string;
}

export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** By the host's clock, in milliseconds since 1970. */
  readonly timeMs: number;
}

interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly class?: unknown; readonly desc?: unknown };
}

interface Message extends Answer {
  readonly QMP?: { readonly version?: { readonly qemu?: Record<string, unknown>; readonly package?: unknown } };
  readonly id?: unknown;
  readonly event?: unknown;
  readonly data?: unknown;
  readonly timestamp?: { readonly seconds?: unknown; readonly microseconds?: unknown };
}

export class QmpClient {
  readonly label: string;
  /** Settles when the connection has ended: undefined after `close`, else why, also when QEMU quit as it was asked to. */
  readonly closed: Promise<Error | undefined>;
  readonly #socket: Socket;
  readonly #pending = new Map<number, Wait<Answer>>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #waits = new Set<Wait<QmpEvent>>();
  readonly #greeting: Wait<QmpVersion>;
  #version!: QmpVersion;
  #nextId = 1;
  #ended: HoldfastError | undefined;
  #settleClosed!: (why: Error | undefined) => void;

  /**
   * Connects and negotiates.
   * @throws `guest-stopped` (nothing listens), `timed-out` (another program uses this monitor), `guest-failed`, `aborted`.
   */
  static async connect(socketPath: string, options: QmpConnectOptions = {}): Promise<QmpClient> {
    const { timeoutMs = 10_000, signal, label = `QEMU on ${socketPath}` } = options;
    const timedOut = () =>
      new HoldfastError(
        'timed-out',
        `${label} did not greet on ${socketPath} within ${timeoutMs} ms: another program uses this monitor, or QEMU hangs`,
      );
    const deadline = waitFor<never>({ timeoutMs, signal, timedOut, what: `connecting to ${label}` });
    let client: QmpClient | undefined;
    try {
      client = new QmpClient(await openSocket(socketPath, label, deadline.signal), label);
      client.#version = await Promise.race([client.#greeting.promise, deadline.promise]);
      await Promise.race([client.execute('qmp_capabilities', undefined, { timeoutMs }), deadline.promise]);
      return client;
    } catch (error) {
      client?.close();
      throw error;
    } finally {
      deadline.cancel();
    }
  }

  private constructor(socket: Socket, label: string) {
    this.label = label;
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
    this.#greeting = waitFor({ what: `the greeting of ${label}` });
    const lines = new JsonLines();
    socket.on('data', (bytes) => {
      try {
        for (const message of lines.push(bytes)) this.#take(message as Message | null);
      } catch (error) {
        this.#end(this.#lost('what it sends cannot be read', error), true);
      }
    });
    socket.on('error', (error) => this.#end(this.#lost('QEMU ended', error), true));
    socket.on('close', () => this.#end(this.#lost('QEMU ended'), true));
  }

  get version(): QmpVersion {
    return this.#version;
  }

  /**
   * The answer's `return`. A command that timed out or was aborted is still done by QEMU: only its answer is dropped, and the connection stays
   * usable.
   * @throws `guest-failed` with QEMU's own words and `data` {command, qmpClass, desc}, or when the connection ended; `timed-out`, `aborted`.
   */
  async execute<T = unknown>(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    options: QmpCallOptions = {},
  ): Promise<T> {
    const { timeoutMs = 30_000, signal } = options;
    if (this.#ended) throw this.#ended;
    if (this.#pending.size >= MAX_PENDING) {
      const words = `${this.label}: QEMU has not answered ${MAX_PENDING} commands; ${command} was not sent`;
      throw new HoldfastError('guest-failed', words, { data: { command } });
    }
    const timedOut = () =>
      new HoldfastError('timed-out', `${this.label}: ${command} was not answered within ${timeoutMs} ms`, {
        data: { command },
      });
    const wait = waitFor<Answer>({ timeoutMs, signal, timedOut, what: `${command} of ${this.label}` });
    if (!signal?.aborted) {
      const id = this.#nextId++;
      this.#pending.set(id, wait);
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    }
    const answer = await wait.promise;
    if (answer.error === undefined) return answer.return as T;
    const { class: qmpClass, desc } = answer.error;
    throw new HoldfastError('guest-failed', `${this.label}: ${command} failed: ${desc}`, {
      data: { command, qmpClass, desc },
    });
  }

  /** Calls `listener` with each event from now on, until the returned function is called. A listener that throws ends the connection. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The first event `name` from now on for which `matches` holds. Ask before the command that causes it: no event after this call is missed.
   * Who gives it up passes a signal; a wait that nobody looks at any more does no harm. `timeoutMs` is 30 s by default.
   * @throws `timed-out`, `aborted`, `guest-failed` when the connection ends.
   */
  waitForEvent(
    name: string,
    matches: (event: QmpEvent) => boolean = () => true,
    options: QmpCallOptions = {},
  ): Promise<QmpEvent> {
    const { timeoutMs = 30_000, signal } = options;
    const timedOut = () =>
      new HoldfastError('timed-out', `${this.label} did not report ${name} within ${timeoutMs} ms`, {
        data: { event: name },
      });
    const wait = waitFor<QmpEvent>({ timeoutMs, signal, timedOut, what: `waiting for ${name} of ${this.label}` });
    if (this.#ended) wait.fail(this.#ended);
    this.#waits.add(wait);
    const stop = this.onEvent((event) => {
      if (event.name === name && matches(event)) wait.take(event);
    });
    const forget = () => {
      stop();
      this.#waits.delete(wait);
    };
    wait.promise.then(forget, forget);
    return wait.promise;
  }

  /** Ends the connection; what is under way fails with `aborted`. QEMU runs on, and its monitor is free for the next client. */
  close(): void {
    this.#end(new HoldfastError('aborted', `the connection to ${this.label} was closed`), false);
  }

  #take(message: Message | null): void {
    if (this.#ended) return;
    if (message?.QMP !== undefined) {
      const { qemu = {}, package: words } = message.QMP.version ?? {};
      const [major, minor, micro] = [qemu.major, qemu.minor, qemu.micro].map(Number);
      if (![major, minor, micro].every(Number.isInteger))
        throw new HoldfastError('guest-failed', `${this.label} greets without a version`);
      this.#greeting.take({ major, minor, micro, package: String(words ?? '') });
    } else if (typeof message?.event === 'string') {
      const { seconds, microseconds } = message.timestamp ?? {};
      const timeMs = Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
      const event = { name: message.event, data: (message.data ?? {}) as Record<string, unknown>, timeMs };
      for (const listener of [...this.#listeners]) listener(event);
    } else if (typeof message?.id === 'number') {
      this.#pending.get(message.id)?.take(message);
      this.#pending.delete(message.id);
    } else {
      const words = message?.error?.desc ?? 'a message that is neither answer nor event';
      throw new HoldfastError('guest-failed', `${this.label} sent: ${words}`);
    }
  }

  #lost(why: string, cause?: unknown): HoldfastError {
    const data = { isLost: true };
    return new HoldfastError('guest-failed', `the connection to ${this.label} is lost: ${why}`, { cause, data });
  }

  #end(error: HoldfastError, lost: boolean): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#socket.destroy();
    this.#greeting.fail(error);
    for (const wait of [...this.#pending.values(), ...this.#waits]) wait.fail(error);
    this.#pending.clear();
    this.#settleClosed(lost ? error : undefined);
  }
}
