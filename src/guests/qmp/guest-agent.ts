// Client of the agent in a guest (QEMU's qga over a virtio-serial port): one command at a time on a channel without connection or ids. Before
// the first command, and after each that got no answer, the channel is brought in step: what came before is thrown away.
// What answers is inside the guest and not trusted: lines are bounded, and nothing that was not asked for is kept.
import { randomInt } from 'node:crypto';
import type { Socket } from 'node:net';
import { HoldfastError } from '../../util/errors.ts';
import { Turn } from '../../util/turn.ts';
import { JsonLines } from './json-lines.ts';
import { openSocket } from './open-socket.ts';
import { waitFor } from './wait-for.ts';

/** The longest answer we ask for, guest-get-fsinfo, has some 300 bytes for each file system. */
const MAX_ANSWER_BYTES = 4 << 20;
/** An agent that runs answers this at once; the limit is that of Proxmox VE. */
export const SYNC_TIMEOUT_MS = 3000;
/** Ends a line that somebody left open, and makes the agent forget it. */
const RESYNC = Buffer.of(0xff);

export interface AgentAddress {
  readonly socketPath: string;
  /** Names the guest in messages, such as `VM 101`; default the socket's path. */
  readonly label?: string;
  /** For connecting and coming in step; default 3 s. */
  readonly timeoutMs?: number;
}

export interface AgentCallOptions {
  /** Default 10 s. */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly class?: unknown; readonly desc?: unknown };
}

export class GuestAgent {
  readonly label: string;
  readonly #socket: Socket;
  readonly #turn = new Turn();
  #inStep = false;
  #ended: HoldfastError | undefined;
  /** Who gets the next line; what comes while nobody asks is an answer that came too late. */
  #asking: { line(value: unknown): void; garbage(line: string): void; fail(error: HoldfastError): void } | undefined;

  /**
   * Connects and brings the channel in step.
   * @throws `guest-stopped` (nothing listens), `guest-agent-silent`, `guest-failed`, `aborted`.
   */
  static async connect(
    socketPath: string,
    options: Omit<AgentAddress, 'socketPath'> & { signal?: AbortSignal | undefined } = {},
  ): Promise<GuestAgent> {
    const { timeoutMs = SYNC_TIMEOUT_MS, signal, label = `the guest of ${socketPath}` } = options;
    const timedOut = () =>
      new HoldfastError('guest-agent-silent', `the socket of ${label}'s agent takes no connection`);
    const deadline = waitFor<never>({ timeoutMs, signal, timedOut, what: `connecting to the agent of ${label}` });
    const socket = await openSocket(socketPath, label, deadline.signal).finally(() => deadline.cancel());
    const agent = new GuestAgent(socket, label);
    try {
      await agent.#turn.run(() => agent.#sync(timeoutMs, signal));
      return agent;
    } catch (error) {
      agent.close();
      throw error;
    }
  }

  private constructor(socket: Socket, label: string) {
    this.label = label;
    this.#socket = socket;
    const onGarbage = (line: string) => this.#asking?.garbage(line);
    const lines = new JsonLines({ maxLineBytes: MAX_ANSWER_BYTES, resync: true, onGarbage });
    socket.on('data', (bytes) => {
      try {
        for (const value of lines.push(bytes)) this.#asking?.line(value);
      } catch (error) {
        const words = `what the agent of ${label} sends cannot be read`;
        this.#end(new HoldfastError('guest-failed', words, { cause: error }));
      }
    });
    socket.on('error', (error) => this.#end(this.#lost(error)));
    socket.on('close', () => this.#end(this.#lost()));
  }

  /**
   * The answer's `return`; commands wait for each other. One that timed out or was aborted may still be done by the guest; its answer is thrown
   * away before the next.
   * @throws `guest-agent-silent`, `timed-out`, `aborted`, `guest-failed` with the agent's own words and `data` {command, qmpClass, desc}.
   */
  execute<T = unknown>(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    options: AgentCallOptions = {},
  ): Promise<T> {
    return this.#turn.run(async () => {
      const syncTimeoutMs = Math.min(SYNC_TIMEOUT_MS, options.timeoutMs ?? SYNC_TIMEOUT_MS);
      if (!this.#inStep) await this.#sync(syncTimeoutMs, options.signal);
      return (await this.#ask(command, args, options)) as T;
    });
  }

  /** The connection has ended; another has to be made. */
  get isLost(): boolean {
    return this.#ended !== undefined;
  }

  async ping(options: AgentCallOptions = { timeoutMs: SYNC_TIMEOUT_MS }): Promise<void> {
    await this.execute('guest-ping', undefined, options);
  }

  async freezeStatus(options?: AgentCallOptions): Promise<'thawed' | 'frozen'> {
    const status = await this.execute('guest-fsfreeze-status', undefined, options);
    if (status === 'thawed' || status === 'frozen') return status;
    throw this.#odd('guest-fsfreeze-status', status);
  }

  /** Freezes all file systems and returns how many. Who calls this thaws, whatever comes of it: see `whileFrozen`. Default 60 s. */
  async freeze(options: AgentCallOptions = {}): Promise<number> {
    const { timeoutMs = 60_000, signal } = options;
    const count = await this.execute('guest-fsfreeze-freeze', undefined, { timeoutMs, signal });
    if (typeof count === 'number') return count;
    throw this.#odd('guest-fsfreeze-freeze', count);
  }

  /**
   * Thaws all file systems and returns how many. It is sent also to an agent that does not answer: one that still freezes reads it when it is
   * done with that.
   */
  async thaw(options: AgentCallOptions = {}): Promise<number> {
    const command = 'guest-fsfreeze-thaw';
    const count = await this.#turn.run(() =>
      this.#inStep ? this.#ask(command, undefined, options) : this.#askBlindly(command, options),
    );
    if (typeof count === 'number') return count;
    throw this.#odd('guest-fsfreeze-thaw', count);
  }

  /** Asks the guest to end. The agent answers only when it refuses; an agent that is gone after it has done what it was told. */
  async shutdown(mode: 'powerdown' | 'reboot' | 'halt', options: AgentCallOptions = {}): Promise<void> {
    const { timeoutMs = SYNC_TIMEOUT_MS, signal } = options;
    await this.#turn.run(async () => {
      if (!this.#inStep) await this.#sync(timeoutMs, signal);
      const { id, say } = syncing();
      const both = Buffer.concat([message({ execute: 'guest-shutdown', arguments: { mode } }), say]);
      const take = (line: Answer | null) => (line?.return === id || line?.error ? { answer: line } : undefined);
      try {
        await this.#converse('guest-shutdown', both, { timeoutMs, signal }, take, () => true);
      } catch (error) {
        const { code, data } = error as HoldfastError;
        if (data.desc !== undefined) this.#inStep = false;
        const gone = code === 'timed-out' || (code === 'guest-failed' && data.desc === undefined);
        if (!gone) throw error;
      }
    });
  }

  /** Ends the connection; what is under way fails with `aborted`. */
  close(): void {
    this.#end(new HoldfastError('aborted', `the connection to the agent of ${this.label} was closed`));
  }

  #ask(
    command: string,
    args: Readonly<Record<string, unknown>> | undefined,
    options: AgentCallOptions,
  ): Promise<unknown> {
    const say = message({ execute: command, arguments: args });
    return this.#converse(command, say, options, (line) => ({ answer: line }));
  }

  /** Brings the channel in step and asks in one go, so that the agent has both, whenever it reads. */
  #askBlindly(command: string, options: AgentCallOptions): Promise<unknown> {
    const { id, say } = syncing();
    let inStep = false;
    const take = (line: Answer | null) => {
      if (inStep) return { answer: line };
      inStep = line?.return === id;
      return undefined;
    };
    const both = Buffer.concat([RESYNC, say, message({ execute: command })]);
    return this.#converse(command, both, options, take, () => !inStep);
  }

  async #sync(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const { id, say } = syncing();
    const take = (line: Answer | null) => (line?.return === id ? { answer: line } : undefined);
    const both = Buffer.concat([RESYNC, say]);
    const tolerant = () => true;
    try {
      await this.#converse('guest-sync-delimited', both, { timeoutMs, signal }, take, tolerant);
    } catch (error) {
      if ((error as HoldfastError).code !== 'timed-out') throw error;
      const words = `the QEMU guest agent is not running in ${this.label}: no answer within ${timeoutMs} ms`;
      throw new HoldfastError('guest-agent-silent', words, { cause: error });
    }
  }

  /** Says something and hands each line to `take` until it has the answer. Garbage is passed over while `tolerant` holds. */
  async #converse(
    command: string,
    say: Buffer,
    { timeoutMs = 10_000, signal }: AgentCallOptions,
    take: (line: Answer | null) => { answer: Answer | null } | undefined,
    tolerant: () => boolean = () => false,
  ): Promise<unknown> {
    if (this.#ended) throw this.#ended;
    const what = `${command} of the agent of ${this.label}`;
    const timedOut = () =>
      new HoldfastError('timed-out', `${what} was not answered within ${timeoutMs} ms`, { data: { command } });
    const wait = waitFor<Answer | null>({ timeoutMs, signal, timedOut, what });
    if (signal?.aborted) await wait.promise;
    this.#inStep = false;
    this.#asking = {
      line: (line) => {
        const taken = take(line as Answer | null);
        if (taken) wait.take(taken.answer);
      },
      garbage: (line) => {
        const words = `the agent of ${this.label} sent a line that is not JSON: ${JSON.stringify(line.slice(0, 80))}`;
        if (!tolerant()) wait.fail(new HoldfastError('guest-failed', words, { data: { command } }));
      },
      fail: wait.fail,
    };
    try {
      this.#socket.write(say);
      const answer = await wait.promise;
      const { class: qmpClass, desc } = answer?.error ?? {};
      if (desc === undefined && (answer === null || !Object.hasOwn(answer, 'return'))) throw this.#odd(command, answer);
      this.#inStep = true;
      if (desc === undefined) return answer!.return;
      const words = `${this.label}: the agent refused ${command}: ${desc}`;
      throw new HoldfastError('guest-failed', words, { data: { command, qmpClass, desc } });
    } finally {
      this.#asking = undefined;
    }
  }

  #odd(command: string, answer: unknown): HoldfastError {
    const words = JSON.stringify(answer)?.slice(0, 200);
    return new HoldfastError('guest-failed', `the agent of ${this.label} answered ${command} with ${words}`, {
      data: { command },
    });
  }

  #lost(cause?: unknown): HoldfastError {
    return new HoldfastError('guest-failed', `the connection to the agent of ${this.label} is lost: QEMU ended`, {
      cause,
    });
  }

  #end(error: HoldfastError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#socket.destroy();
    this.#asking?.fail(error);
  }
}

function message(what: object): Buffer {
  return Buffer.from(`${JSON.stringify(what)}\n`);
}

/** A number that no answer from before can hold. */
function syncing(): { id: number; say: Buffer } {
  const id = randomInt(1, 2 ** 47);
  return { id, say: message({ execute: 'guest-sync-delimited', arguments: { id } }) };
}
