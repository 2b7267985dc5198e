// A worker thread's end of the way to the hub: hands over records, and waits for room and for answers in the middle of a computation.
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { ID_BYTES } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type PlainError, reviveError } from '../../util/plain-error.ts';
import { bitOf, setBit } from './frames.ts';
import { Counter, type FromHub, type RemoteJoin, type ToHub } from './hub-messages.ts';

/** Most bytes of one thread that the server has not answered. */
export const MAX_UNANSWERED_BYTES = 8 * 1024 * 1024;
/** The hub answers every question, if only with an error, and gives up long before: this is a bug's bound. */
const ANSWER_TIMEOUT_MS = 60 * 60_000;
const LOOK_AGAIN_MS = 5000;

export class HubLink {
  readonly haveIds: number;
  readonly getIds: number;
  readonly #port: MessagePort;
  readonly #counters: Int32Array;
  readonly #answers = new Map<number, FromHub>();
  #nextCall = 1;

  constructor({ port, counters, haveIds, getIds }: RemoteJoin) {
    this.#port = port;
    this.#counters = new Int32Array(counters);
    this.haveIds = haveIds;
    this.getIds = getIds;
  }

  /** Hands over frames, whose memory is gone then, once there is room for them. @throws why the session failed. */
  send(frames: Uint8Array): void {
    const counters = this.#counters;
    for (;;) {
      if (Atomics.load(counters, Counter.failed) === 1) this.#throwFailure();
      const unanswered = Atomics.load(counters, Counter.unanswered);
      if (unanswered === 0 || unanswered + frames.length <= MAX_UNANSWERED_BYTES) break;
      Atomics.wait(counters, Counter.unanswered, unanswered, LOOK_AGAIN_MS);
    }
    Atomics.add(counters, Counter.unanswered, frames.length);
    this.#port.postMessage({ kind: 'records', frames } satisfies ToHub, [frames.buffer as ArrayBuffer]);
  }

  /** Which of the ids are known, as a bitmap; any number of them. */
  have(ids: Uint8Array): Uint8Array {
    const bitmap = new Uint8Array(Math.ceil(ids.length / ID_BYTES / 8));
    for (let first = 0; first * ID_BYTES < ids.length; first += this.haveIds) {
      const part = ids.subarray(first * ID_BYTES, (first + this.haveIds) * ID_BYTES);
      const known = this.answer(this.ask('have', part));
      for (let place = 0; place < part.length / ID_BYTES; place++)
        if (bitOf(known, place)) setBit(bitmap, first + place);
    }
    return bitmap;
  }

  /** Asks without waiting; `answer` waits. */
  ask(method: 'have' | 'get', ids: Uint8Array): number {
    const call = this.#nextCall++;
    this.#port.postMessage({ kind: 'ask', call, method, ids: new Uint8Array(ids) } satisfies ToHub);
    return call;
  }

  /** @throws what the hub could not do. */
  answer(call: number): Uint8Array {
    const deadline = Date.now() + ANSWER_TIMEOUT_MS;
    for (;;) {
      const seen = Atomics.load(this.#counters, Counter.answers);
      for (let next = receiveMessageOnPort(this.#port); next !== undefined; next = receiveMessageOnPort(this.#port)) {
        const message = next.message as FromHub;
        this.#answers.set(message.call, message);
      }
      const answer = this.#answers.get(call);
      if (answer !== undefined) {
        this.#answers.delete(call);
        if ('error' in answer) throw revive(answer.error);
        return answer.bytes;
      }
      if (Atomics.load(this.#counters, Counter.closed) === 1)
        throw new HoldfastError('aborted', 'the session at the server is closed');
      if (Date.now() > deadline)
        throw new HoldfastError('timed-out', 'the main thread gave no answer about the server; run again');
      Atomics.wait(this.#counters, Counter.answers, seen, LOOK_AGAIN_MS);
    }
  }

  /** An answer that nobody wants any more. */
  forget(call: number): void {
    try {
      this.answer(call);
    } catch {
      // Whoever gave up has an error of their own.
    }
  }

  close(): void {
    this.#port.close();
  }

  #throwFailure(): never {
    this.answer(this.ask('have', new Uint8Array(ID_BYTES)));
    throw new HoldfastError('aborted', 'the session failed');
  }
}

/** The stack of this thread says more than that of the hub. */
function revive(error: PlainError): Error {
  return reviveError({ ...error, stack: undefined });
}
