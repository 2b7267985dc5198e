// What a target is to those who send: something that takes an event, or a part of those it should reach.
import { HoldfastError } from '../util/errors.ts';
import type { NotifyEvent } from './event.ts';

/** What is sent. `id` is the same at every attempt, so that whoever gets it twice can tell. */
export interface Message {
  readonly id: string;
  readonly event: NotifyEvent;
  /** Who has not got it yet, of a target with several receivers; all of them when missing. */
  readonly remaining?: readonly string[] | undefined;
}

/** Receivers that did not take it. None of them is a success. */
export interface SendResult {
  readonly refused: readonly { readonly receiver: string; readonly reason: string }[];
}

export interface Target {
  /**
   * Ends when the other side has taken the message, or `signal` aborts.
   * @throws HoldfastError `server-unreachable`, `server-untrusted`, `timed-out`, `target-failed`, `not-authenticated` when nobody got it.
   * No message holds a secret.
   */
  send(message: Message, signal: AbortSignal): Promise<SendResult>;
}

/** For those who want all or nothing. */
export function partlyRefused(name: string, refused: SendResult['refused']): HoldfastError {
  const who = refused.map(({ receiver, reason }) => `${receiver} (${reason})`).join(', ');
  return new HoldfastError('target-failed', `target ${name} did not take it for ${who}`);
}
