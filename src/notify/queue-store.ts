// The queue of what is to be sent, as rows: behind it stands the state database. What is put here survives a restart.
import type { NotifyEvent } from './event.ts';

export interface Delivery {
  readonly id: number;
  readonly target: string;
  /** `waiting` is tried again; `failed` was given up, and is kept to be seen. */
  readonly state: 'waiting' | 'failed';
  readonly attempts: number;
  /** Unix milliseconds, as all times here. */
  readonly addedMs: number;
  readonly nextMs: number;
  /** Receivers that have not got it; all of them when missing. */
  readonly remaining?: readonly string[] | undefined;
  /** Why it failed the last time. */
  readonly error?: string | undefined;
  /** The same for all deliveries of an event, in all databases. */
  readonly messageId: string;
  readonly event: NotifyEvent;
}

export type DeliveryChange = Pick<Delivery, 'state' | 'attempts' | 'nextMs' | 'remaining' | 'error'>;

export interface QueueStore {
  /** In one transaction, durable when it returns. Returns how many deliveries had to go because the queue is full. */
  add(event: NotifyEvent, messageId: string, targets: readonly string[], nowMs: number): number;
  /** Targets that have something that is due. `latestMs`: what is due later than that is due now, for the clock was set back. */
  dueTargets(nowMs: number, latestMs: number): readonly string[];
  /** The oldest that is due. */
  firstDue(target: string, nowMs: number, latestMs: number): Delivery | undefined;
  change(id: number, change: DeliveryChange): void;
  /** It was taken. */
  remove(id: number): void;
  removeTarget(target: string): void;
  /** Newest first. */
  list(limit: number): readonly Delivery[];
  /** Forgets what was given up before that time. */
  forgetFailed(beforeMs: number): void;
}
