// A worker thread's end of the way to the hub: hands over records, and waits for room and for answers in the middle of a computation.
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { ID_BYTES } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type PlainError, reviveError } from '../../util/plain-error.ts';
import { bitOf, setBit } from './frames.ts';
import { Counter, type FromHub, type RemoteJoin, type ToHub } from './hub-messages.ts';
import { SharedRoom } from './shared-room.ts';

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
  readonly #room: SharedRoom;
  readonly #answers = new Map<number, FromHub>();
  #nextCall = 1;

  constructor({ port, counters, room, haveIds, getIds }: RemoteJoin) {
    this.#port = port;
    this.#counters = new Int32Array(counters);
    this.#room = new SharedRoom(room);
    this.haveIds = haveIds;
    this.getIds = getIds;
  }

  /** Hands over frames, whose memory is gone then, once there is room for them. @throws why the session failed. */
  send(frames: Uint8Array): void {
    this.#waitForRoom(frames.length);
    this.#port.postMessage({ kind: 'records', frames } satisfies ToHub, [frames.buffer as ArrayBuffer]);
  }

  /** A piece to be filled, once there is one. @throws why the session failed. */
  takePiece(): { readonly number: number; readonly bytes: Uint8Array } {
    return this.#wait(() => {
      const number = this.#room.takePiece();
      return number === undefined ? undefined : { number, bytes: this.#room.piece(number) };
    });
  }

  /** Hands over the frames in the first `bytes` bytes of a piece, once there is room for them. @throws why the session failed. */
  sendPiece(piece: number, bytes: number): void {
    this.#waitForRoom(bytes);
    this.#port.postMessage({ kind: 'piece', piece, bytes } satisfies ToHub);
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

  /**
   * Asks without waiting; `answer` waits. An area of the shared room is lent for the answer: until that was read, or forgotten, no other
   * question may name it.
   */
  ask(method: 'have' | 'get', ids: Uint8Array, area?: number): number {
    const call = this.#nextCall++;
    this.#port.postMessage({ kind: 'ask', call, method, ids: new Uint8Array(ids), area } satisfies ToHub);
    return call;
  }

  /** In the area that was lent, or in memory of its own. @throws what the hub could not do. */
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
        return 'bytes' in answer ? answer.bytes : this.#room.area(answer.area).subarray(0, answer.filled);
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

  #waitForRoom(bytes: number): void {
    this.#wait((unanswered) => unanswered === 0 || unanswered + bytes <= MAX_UNANSWERED_BYTES || undefined);
    Atomics.add(this.#counters, Counter.unanswered, bytes);
  }

  /** Until `look` finds what it wants; it looks again after each answer. */
  #wait<Found>(look: (unanswered: number) => Found | undefined): Found {
    const counters = this.#counters;
    for (;;) {
      if (Atomics.load(counters, Counter.failed) === 1) this.#throwFailure();
      const unanswered = Atomics.load(counters, Counter.unanswered);
      const found = look(unanswered);
      if (found !== undefined) return found;
      Atomics.wait(counters, Counter.unanswered, unanswered, LOOK_AGAIN_MS);
    }
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
