// The orders of this agent: a few run at once, some wait, more are refused. They go on whether or not the server can be reached.
import { setTimeout as sleep } from 'node:timers/promises';
import { requireKnown } from '../../transport/control/known-orders.ts';
import type { AgentMessage } from '../../transport/control/messages.ts';
import type { Order } from '../../transport/control/orders.ts';
import { HoldfastError } from '../../util/errors.ts';
import { HeldOrder } from './held-order.ts';

const MAX_RUNNING = 4;
const MAX_WAITING = 16;
/** Ended, and the server does not know yet. */
const MAX_UNTOLD = 200;

/** What the run of an order tells. */
export interface OrderReport {
  readonly signal: AbortSignal;
  log(text: string): void;
  warn(text: string): void;
  progress(what: string, bytesDone: number, bytesTotal: number | undefined): void;
}

/** Does what an order says; what it returns is plain JSON. */
export type RunOrder = (order: Order, report: OrderReport) => Promise<unknown>;

export class OrderDesk {
  readonly #run: RunOrder;
  readonly #held = new Map<string, HeldOrder>();
  readonly #waiting: { readonly held: HeldOrder; readonly order: Order }[] = [];
  readonly #running = new Set<Promise<void>>();
  #send: ((message: AgentMessage) => void) | undefined;

  constructor(run: RunOrder) {
    this.#run = run;
  }

  /** Orders of which the server may not know all. */
  get ids(): string[] {
    return [...this.#held.keys()];
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /** One that is known already is no new one: a server that could not know asks twice. */
  take(id: string, given: unknown): void {
    if (this.#held.has(id)) return;
    const held = new HeldOrder(id);
    this.#held.set(id, held);
    if (this.#send !== undefined) held.attach(this.#send);
    let order: Order;
    try {
      order = requireKnown(given);
    } catch (error) {
      held.failed(error);
      this.#forgetOldest();
      return;
    }
    if (this.#running.size < MAX_RUNNING) this.#begin(held, order);
    else if (this.#waiting.length < MAX_WAITING) {
      held.log(`${this.#running.size} orders run on this host; this one waits`);
      this.#waiting.push({ held, order });
    } else {
      held.failed(
        new HoldfastError(
          'too-many',
          `${MAX_RUNNING} orders run on this host and ${MAX_WAITING} wait, which is the limit; wait until some end`,
        ),
      );
    }
  }

  abort(id: string, reason: string): void {
    const held = this.#held.get(id);
    if (held === undefined) return;
    held.abort(reason);
    const place = this.#waiting.findIndex((each) => each.held === held);
    if (place < 0) return;
    this.#waiting.splice(place, 1);
    held.failed(held.signal.reason);
  }

  acknowledged(id: string, seq: number): void {
    const held = this.#held.get(id);
    held?.acknowledged(seq);
    if (held?.isTold) this.#held.delete(id);
  }

  attach(send: (message: AgentMessage) => void): void {
    this.#send = send;
    for (const held of [...this.#held.values()]) held.attach(send);
  }

  detach(): void {
    this.#send = undefined;
    for (const held of this.#held.values()) held.detach();
  }

  /** Stops all orders, and waits for their ends to be told; `timeoutMs` for each of the two at most. */
  async end(reason: string, timeoutMs: number): Promise<void> {
    for (const id of this.ids) this.abort(id, reason);
    const late = AbortSignal.timeout(timeoutMs);
    const over = new Promise<void>((resolve) => {
      late.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([Promise.all([...this.#running]), over]);
    const toldBy = performance.now() + timeoutMs;
    while (this.#send !== undefined && this.#held.size > 0 && performance.now() < toldBy) await sleep(20);
  }

  #begin(held: HeldOrder, order: Order): void {
    held.log(`the ${order.kind} begins`);
    const run = this.#work(held, order).finally(() => {
      this.#running.delete(run);
      const next = this.#waiting.shift();
      if (next !== undefined) this.#begin(next.held, next.order);
      this.#forgetOldest();
    });
    this.#running.add(run);
  }

  async #work(held: HeldOrder, order: Order): Promise<void> {
    try {
      const result = await this.#run(order, {
        signal: held.signal,
        log: (text) => held.log(text),
        warn: (text) => held.warn(text),
        progress: (what, bytesDone, bytesTotal) => held.progress({ what, bytesDone, bytesTotal }),
      });
      held.succeeded(result);
    } catch (error) {
      held.failed(error);
    }
  }

  #forgetOldest(): void {
    const ended = [...this.#held.values()].filter(({ hasEnded }) => hasEnded);
    for (const { id } of ended.slice(0, Math.max(0, ended.length - MAX_UNTOLD))) this.#held.delete(id);
  }
}
