// Sends what is in the queue: one message at a time to a target, all targets beside each other, so that one that hangs delays no other. What
// fails is tried again later and later, for three days; then it is given up, and that is said.
import { HoldfastError } from '../util/errors.ts';
import type { Delivery, QueueStore } from './queue-store.ts';
import type { SendResult, Target } from './target.ts';

export const QUEUE_RULES = {
  firstRetryMs: 30_000,
  longestRetryMs: 3600_000,
  maxAttempts: 100,
  maxAgeMs: 3 * 24 * 3600_000,
  /** What was given up is shown for so long. */
  keepFailedMs: 30 * 24 * 3600_000,
  /** How often it is looked, besides when something is put into the queue: other processes put something there too. */
  lookEveryMs: 5000,
} as const;
export type QueueRules = { readonly [Name in keyof typeof QUEUE_RULES]: number };

export interface SenderParts {
  readonly queue: QueueStore;
  /** Undefined for one that is switched off or gone: its messages wait. */
  readonly target: (name: string) => Target | undefined;
  /** Unix milliseconds. */
  readonly clock: () => number;
  /** What goes wrong, for the log. */
  readonly warn: (message: string, detail: Readonly<Record<string, unknown>>) => void;
  readonly rules?: Partial<QueueRules>;
}

export class Sender {
  readonly #parts: SenderParts;
  readonly #rules: QueueRules;
  readonly #stop = new AbortController();
  /** Targets that something is being sent to. */
  readonly #busy = new Map<string, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    this.#rules = { ...QUEUE_RULES, ...parts.rules };
  }

  /** Begins with what a server before this one has left. */
  start(): void {
    this.#timer ??= setInterval(() => this.kick(), this.#rules.lookEveryMs);
    this.kick();
  }

  /** Looks at once what is due. */
  kick(): void {
    if (this.#stop.signal.aborted) return;
    const { queue, target, clock, warn } = this.#parts;
    try {
      const nowMs = clock();
      queue.forgetFailed(nowMs - this.#rules.keepFailedMs);
      for (const name of queue.dueTargets(nowMs, this.#latest(nowMs))) {
        if (this.#busy.has(name)) continue;
        const open = target(name);
        if (open === undefined) this.#giveUpOld(name);
        else this.#busy.set(name, this.#serve(name, open));
      }
    } catch (error) {
      // A full disk; it is tried again in a few seconds.
      warn('the queue of notifications cannot be read', { err: error });
    }
  }

  /** What is being sent is cut off; it is in the queue still. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort(new HoldfastError('aborted', 'the server is stopping'));
    await Promise.all(this.#busy.values());
  }

  async #serve(name: string, target: Target): Promise<void> {
    try {
      // Until one fails: what is behind it would fail too, and waits for its turn.
      while (!this.#stop.signal.aborted && (await this.#sendNext(name, target)));
    } catch (error) {
      this.#parts.warn('the queue of notifications cannot be written', { err: error, target: name });
    } finally {
      this.#busy.delete(name);
    }
  }

  /** Whether there may be more to send at once. */
  async #sendNext(name: string, target: Target): Promise<boolean> {
    const { queue, clock } = this.#parts;
    const delivery = queue.firstDue(name, clock(), this.#latest(clock()));
    if (delivery === undefined) return false;
    try {
      const { messageId: id, event, remaining } = delivery;
      const { refused } = await target.send({ id, event, remaining }, this.#stop.signal);
      if (refused.length === 0) queue.remove(delivery.id);
      else this.#failed(delivery, describe(refused), refused);
      return true;
    } catch (error) {
      // What was cut off because the server ends is no failure.
      if (!this.#stop.signal.aborted) this.#failed(delivery, (error as Error).message);
      return false;
    }
  }

  #failed(delivery: Delivery, reason: string, refused?: SendResult['refused']): void {
    const { queue, clock, warn } = this.#parts;
    const { firstRetryMs, longestRetryMs, maxAttempts } = this.#rules;
    const nowMs = clock();
    const attempts = delivery.attempts + 1;
    const isOver = attempts >= maxAttempts || this.#isOld(delivery, nowMs);
    queue.change(delivery.id, {
      state: isOver ? 'failed' : 'waiting',
      attempts,
      nextMs: nowMs + Math.min(longestRetryMs, firstRetryMs * 2 ** Math.min(30, attempts - 1)),
      remaining: refused === undefined ? delivery.remaining : refused.map(({ receiver }) => receiver),
      error: reason.slice(0, 1000),
    });
    const { target, event } = delivery;
    const detail = { target, subject: event.subject, attempts, reason };
    warn(isOver ? 'a notification was given up' : 'a notification could not be sent; it is tried again', detail);
  }

  /** Messages to a target that takes none. */
  #giveUpOld(name: string): void {
    const { queue, clock } = this.#parts;
    const nowMs = clock();
    const delivery = queue.firstDue(name, nowMs, this.#latest(nowMs));
    if (delivery !== undefined && this.#isOld(delivery, nowMs))
      this.#failed(delivery, `target ${name} is switched off`);
  }

  #isOld({ addedMs }: Delivery, nowMs: number): boolean {
    return nowMs - addedMs > this.#rules.maxAgeMs;
  }

  /** Nothing waits longer than the longest wait, unless the clock was set back meanwhile. */
  #latest(nowMs: number): number {
    return nowMs + this.#rules.longestRetryMs;
  }
}

function describe(refused: SendResult['refused']): string {
  return refused.map(({ receiver, reason }) => `${receiver}: ${reason}`).join('; ');
}
