// One order at one agent, as its task sees it: what the agent tells goes into the task, what is asked of the task goes to the agent.
import { randomBytes } from 'node:crypto';
import type { OrderEvent } from '../transport/control/messages.ts';
import type { Order } from '../transport/control/orders.ts';
import { ERROR_CODES, type ErrorCode, HoldfastError } from '../util/errors.ts';

/** Of a task, told with its result; its log has all of them. */
const MAX_WARNINGS = 100;
const MAX_WARNING_CHARS = 16 * 1024;
/** What an agent gets to end what it was told to stop. */
const ABORT_GRACE_MS = 60_000;

/** What a task gives to its work. */
export interface OrderTask {
  readonly signal: AbortSignal;
  log(text: string): void;
  warn(text: string): void;
  onProgress(what: string, bytesDone: number, bytesTotal: number | undefined): void;
}

export interface OrderResult {
  readonly data: { readonly result: unknown; readonly warnings: readonly string[] };
}

export class PlacedOrder {
  readonly id = randomBytes(16).toString('hex');
  readonly node: string;
  readonly order: Order;
  /** The agent's process that was given the order. */
  readonly instance: string;
  readonly done: Promise<OrderResult>;
  readonly #task: OrderTask;
  readonly #onAbort: (reason: string) => void;
  readonly #stopListening: () => void;
  readonly #warnings: string[] = [];
  #warningChars = 0;
  #lastSeq = 0;
  #hasEnded = false;
  #resolve: (result: OrderResult) => void = () => {};
  #reject: (error: Error) => void = () => {};
  #abortReason: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `onAbort` tells the agent to stop. The task is not aborted yet. */
  constructor(
    place: { readonly node: string; readonly instance: string },
    order: Order,
    task: OrderTask,
    onAbort: (reason: string) => void,
  ) {
    this.node = place.node;
    this.instance = place.instance;
    this.order = order;
    this.#task = task;
    this.#onAbort = onAbort;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever waits for it gets it; nobody may have to.
    this.done.catch(() => undefined);
    const abort = (): void => this.#abort((task.signal.reason as Error).message);
    task.signal.addEventListener('abort', abort, { once: true });
    this.#stopListening = () => task.signal.removeEventListener('abort', abort);
  }

  /** Whether the agent has said that it has the order. */
  get isTaken(): boolean {
    return this.#lastSeq > 0;
  }

  /** Whether the agent has said how it ended. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Why it is to stop, when it is. */
  get abortReason(): string | undefined {
    return this.#abortReason;
  }

  /** Takes an event; one that was told before is nothing new. */
  event(event: OrderEvent): void {
    if (event.seq <= this.#lastSeq) return;
    this.#lastSeq = event.seq;
    this.#hasEnded = event.event === 'end';
    if (event.event !== 'end') {
      if (event.event === 'log') this.#task.log(event.text);
      else this.#warn(event.text);
    } else if (event.failure !== undefined) this.fail(errorOf(event.failure));
    else this.#settle(() => this.#resolve({ data: { result: event.result ?? null, warnings: this.#warnings } }));
  }

  progress(what: string, bytesDone: number, bytesTotal: number | undefined): void {
    this.#task.onProgress(what, bytesDone, bytesTotal);
  }

  /** The line to the agent is cut: it gets so long to come back. */
  lost(graceMs: number): void {
    this.#task.log(`the agent of ${this.node} is away; the order goes on there, and is waited for`);
    this.#wait(graceMs, () => {
      this.fail(
        new HoldfastError(
          'node-offline',
          `the agent of node ${this.node} has not come back for ${Math.round(graceMs / 1000)} s: it was stopped, or the network is down; what it had stored stays for the next backup of the group`,
          { data: { node: this.node } },
        ),
      );
    });
  }

  /** The same process of the agent is there again; what was asked of it meanwhile is asked now. */
  found(): void {
    clearTimeout(this.#timer);
    this.#task.log(`the agent of ${this.node} is there again`);
    if (this.#abortReason !== undefined) this.#abort(this.#abortReason);
  }

  fail(error: Error): void {
    this.#settle(() => this.#reject(error));
  }

  #abort(reason: string): void {
    this.#abortReason = reason;
    this.#wait(ABORT_GRACE_MS, () => {
      this.fail(new HoldfastError('aborted', `the agent of ${this.node} did not say that it stopped`));
    });
    this.#onAbort(reason);
  }

  #wait(ms: number, over: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(over, ms);
  }

  #warn(text: string): void {
    this.#task.warn(text);
    if (this.#warnings.length >= MAX_WARNINGS || this.#warningChars + text.length > MAX_WARNING_CHARS) return;
    this.#warnings.push(text);
    this.#warningChars += text.length;
  }

  #settle(settle: () => void): void {
    clearTimeout(this.#timer);
    this.#stopListening();
    settle();
  }
}

/** A code of the catalogue stays; an agent that is newer may have others. */
function errorOf({ code, message }: { readonly code: string; readonly message: string }): HoldfastError {
  const known = code in ERROR_CODES;
  return new HoldfastError(known ? (code as ErrorCode) : 'task-failed', known ? message : `${message} (${code})`);
}
