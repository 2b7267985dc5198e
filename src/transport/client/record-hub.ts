// The main thread's half of a session at a server: takes records and questions of all threads and serves them over a few lines. Keeps what the
// server has not answered; after a broken line it asks what arrived and sends the rest.
import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { ID_BYTES } from '../../chunker/object.ts';
import { RECORD_ID_AT } from '../../chunker/record.ts';
import { HoldfastError } from '../../util/errors.ts';
import { plainError } from '../../util/plain-error.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { BulkLine } from './bulk-line.ts';
import { bitOf, eachFrame, idKey, idsOf, setBit } from './frames.ts';
import { Counter, type FromHub, type RemoteJoin, type ToHub } from './hub-messages.ts';
import { Patience } from './patience.ts';
import { RecordQueue, type Run } from './record-queue.ts';
import type { OpenedAccess, SessionKeeper } from './session-keeper.ts';
import { SharedRoom } from './shared-room.ts';

/** Records of one body; larger ones would cost more after a broken line, smaller ones round trips. */
const BODY_BYTES = 4 * 1024 * 1024;
/** Most bytes of one answer to get: a batch of chunks, or one object of the largest size. */
const MAX_ANSWER_BYTES = 96 * 1024 * 1024;

export interface HubOptions<Opened extends OpenedAccess> {
  readonly keeper: SessionKeeper<Opened>;
  /** Makes a line to the bulk listener at an origin. */
  readonly openLine: (origin: string) => BulkLine;
  /** How many; the first of several serves questions alone. */
  readonly lines: number;
  readonly limits: { readonly haveIds: number; readonly getIds: number; readonly putBytes: number };
  /** For how long a broken line is tried again. */
  readonly patienceMs: number;
  readonly signal: AbortSignal;
  /** In a read session what may be read depends on what was read before, which a session that was opened anew does not know. */
  readonly kind: 'backup' | 'read';
}

interface Ask {
  readonly thread: number;
  readonly call: number;
  readonly method: 'have' | 'get';
  readonly ids: Uint8Array;
  readonly area: number | undefined;
}

interface Joined {
  readonly port: MessagePort;
  readonly counters: Int32Array;
  readonly room: SharedRoom;
  /** Bytes of each piece of the room that were not answered. */
  readonly pieces: Map<number, number>;
}

/** One connection, and to where. */
interface Slot {
  line: BulkLine | undefined;
  origin: string | undefined;
}

export class RecordHub<Opened extends OpenedAccess> {
  readonly #options: HubOptions<Opened>;
  readonly #threads: Joined[] = [];
  readonly #queue = new RecordQueue();
  readonly #asks: Ask[] = [];
  /** Questions for objects that are on their way to the server themselves. */
  #early: Ask[] = [];
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #slots: Slot[];
  readonly #running: Promise<void>[];
  #wake: (() => void)[] = [];
  #failure: unknown;
  #busySinceTick = false;
  /** Bytes of records that the server has taken over. */
  bytesPut = 0;

  constructor(options: HubOptions<Opened>) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#stop.signal]);
    this.#slots = Array.from({ length: options.lines }, () => ({ line: undefined, origin: undefined }));
    this.#running = this.#slots.map(async (slot, place) => {
      try {
        // One line has no records to wait behind: a thread goes on while bodies of others are under way.
        await this.#serve(slot, place > 0 || options.lines === 1);
      } catch (error) {
        this.#fail(error);
      }
    });
    options.signal.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal.aborted) this.#onAbort();
  }

  /** Gives every thread of the pool its way here. */
  async join(
    pool: WorkerPool,
    join: Omit<RemoteJoin, 'port' | 'counters' | 'room' | 'kind' | 'haveIds' | 'getIds'>,
  ): Promise<void> {
    const { kind, limits } = this.#options;
    await Promise.all(
      Array.from({ length: pool.size }, async (_, thread) => {
        const { port1, port2 } = new MessageChannel();
        const shared = new SharedArrayBuffer(Counter.length * 4);
        const room = new SharedRoom();
        const counters = new Int32Array(shared);
        const place = this.#threads.push({ port: port1, counters, room, pieces: new Map() }) - 1;
        port1.on('message', (message: ToHub) => this.#receive(place, message));
        const ids = { haveIds: limits.haveIds, getIds: limits.getIds };
        const message: RemoteJoin = { ...join, ...ids, kind, counters: shared, room: room.buffer, port: port2 };
        await pool.call(thread, 'remote.join', message, [port2]);
      }),
    );
  }

  /** Bytes that threads handed over and the server has not answered. */
  get bytesUnanswered(): number {
    return this.#threads.reduce((sum, { counters }) => sum + Atomics.load(counters, Counter.unanswered), 0);
  }

  /** Whether lines did something since the last call: then the session needs no other sign of life. */
  takeBusy(): boolean {
    const busy = this.#busySinceTick;
    this.#busySinceTick = false;
    return busy;
  }

  /** Returns when the server has everything that threads handed over. @throws what failed. */
  async drained(): Promise<void> {
    this.#collect([]);
    while (!this.#queue.isEmpty) {
      this.#throwFailure();
      await this.#change();
    }
    this.#throwFailure();
  }

  /** Lets go of lines and threads; what was not answered is dropped. */
  async close(): Promise<void> {
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    this.#fail(new HoldfastError('aborted', 'the session is closed'));
    this.#stop.abort();
    await Promise.all(this.#running);
    for (const { port, counters } of this.#threads) {
      // Calls that wait in a thread find it closed, instead of asking nobody.
      Atomics.store(counters, Counter.closed, 1);
      Atomics.add(counters, Counter.answers, 1);
      Atomics.notify(counters, Counter.answers);
      port.close();
    }
    for (const { line } of this.#slots) line?.close();
  }

  readonly #onAbort = (): void => this.#fail(undefined);

  #receive(thread: number, message: ToHub): void {
    this.#collect([{ thread, message }]);
  }

  /**
   * Takes what all threads sent, until a look at all of them finds nothing: whoever named an object learned of it after it was sent, so that
   * by then it was seen.
   */
  #collect(first: { thread: number; message: ToHub }[]): void {
    const seen = [...first];
    for (let found = true; found; ) {
      found = false;
      for (const [thread, { port }] of this.#threads.entries()) {
        for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
          seen.push({ thread, message: next.message as ToHub });
          found = true;
        }
      }
    }
    if (seen.length === 0) return;
    this.#queue.add(
      seen.flatMap(({ thread, message }) =>
        message.kind === 'ask' ? [] : [{ owner: thread, frames: this.#framesOf(thread, message) }],
      ),
    );
    for (const { thread, message } of seen) {
      if (message.kind !== 'ask') continue;
      const { call, method, ids, area } = message;
      const ask = { thread, call, method, ids, area };
      if (this.#failure !== undefined) this.#refuse(ask, this.#failure);
      else if (method === 'get' && this.#isOnItsWay(ids)) this.#early.push(ask);
      else this.#asks.push(ask);
    }
    this.#changed();
  }

  #framesOf(thread: number, message: Exclude<ToHub, { kind: 'ask' }>): Uint8Array {
    if (message.kind === 'records') return message.frames;
    const { room, pieces } = this.#threads[thread] as Joined;
    pieces.set(message.piece, message.bytes);
    return room.piece(message.piece).subarray(0, message.bytes);
  }

  /** The thread may use the memory of these frames again. */
  #giveBack({ room, pieces, counters }: Joined, frames: Uint8Array): void {
    const piece = room.pieceOf(frames);
    if (piece !== undefined) {
      const left = (pieces.get(piece) as number) - frames.length;
      pieces.set(piece, left);
      if (left === 0) room.givePiece(piece);
    }
    Atomics.sub(counters, Counter.unanswered, frames.length);
    Atomics.notify(counters, Counter.unanswered);
  }

  #isOnItsWay(ids: Uint8Array): boolean {
    for (let at = 0; at < ids.length; at += ID_BYTES) if (this.#queue.has(idKey(ids, at))) return true;
    return false;
  }

  async #serve(slot: Slot, takesRecords: boolean): Promise<void> {
    while (this.#failure === undefined) {
      const ask = this.#asks.shift();
      if (ask !== undefined) {
        await this.#answer(slot, ask);
        continue;
      }
      const most = Math.min(BODY_BYTES, this.#options.limits.putBytes);
      const runs = takesRecords ? this.#queue.take(most) : undefined;
      if (runs !== undefined) await this.#put(slot, runs);
      else await this.#change();
    }
  }

  async #answer(slot: Slot, ask: Ask): Promise<void> {
    try {
      const bytes = ask.method === 'have' ? await this.#have(slot, ask.ids) : await this.#get(slot, ask);
      this.#reply(ask, bytes);
    } catch (error) {
      // Of a session whose server is gone, or lies, nothing can come any more.
      this.#fail(error);
      this.#refuse(ask, this.#failure);
    }
  }

  async #have(slot: Slot, ids: Uint8Array): Promise<Uint8Array> {
    const count = ids.length / ID_BYTES;
    const bitmap = new Uint8Array(Math.ceil(count / 8));
    const unsure: number[] = [];
    for (let place = 0; place < count; place++) {
      if (this.#queue.has(idKey(ids, place * ID_BYTES))) setBit(bitmap, place);
      else unsure.push(place);
    }
    if (unsure.length === 0) return bitmap;
    const asked = idsOf(unsure.map((place) => idKey(ids, place * ID_BYTES)));
    const known = await this.#through(slot, (line, access) => line.have(access, asked, this.#signal));
    unsure.forEach((place, bit) => {
      if (bitOf(known, bit)) setBit(bitmap, place);
    });
    return bitmap;
  }

  async #get(slot: Slot, { thread, ids, area }: Ask): Promise<Uint8Array> {
    const into = area === undefined ? undefined : this.#threads[thread]?.room.area(area);
    const room = { mostBytes: MAX_ANSWER_BYTES, into };
    const frames = await this.#through(slot, (line, access) => line.get(access, ids, room, this.#signal));
    if (this.#options.kind === 'read' && this.#options.keeper.reopenings > 0) {
      for (const { record } of eachFrame(frames)) if (record.length === 0) throw sessionLost();
    }
    return frames;
  }

  /** Sends a body until it is taken over; after a broken line only what did not arrive. */
  async #put(slot: Slot, runs: readonly Run[]): Promise<void> {
    let left: Uint8Array[] = runs.map((run) => run.frames);
    let records = runs.reduce((sum, run) => sum + run.ids.length, 0);
    let isDoubtful = false;
    try {
      await this.#through(slot, async (line, access) => {
        if (isDoubtful) {
          left = await this.#unknownFrames(line, access, left);
          records = left.length;
        }
        isDoubtful = true;
        if (records > 0) await line.put(access, left, records, this.#signal);
      });
    } catch (error) {
      const isOutOfScope = error instanceof HoldfastError && error.code === 'out-of-scope';
      // What the session of before put is not in this one: it was not adopted.
      throw isOutOfScope && this.#options.keeper.reopenings > 0 ? sessionLost(error) : error;
    }
    this.#queue.answered(runs);
    for (const { owner, frames } of runs) {
      this.bytesPut += frames.length;
      this.#giveBack(this.#threads[owner] as Joined, frames);
    }
    const early = this.#early;
    this.#early = [];
    for (const ask of early) (this.#isOnItsWay(ask.ids) ? this.#early : this.#asks).push(ask);
    this.#changed();
  }

  /** The frames whose records the server does not have, each on its own. */
  async #unknownFrames(line: BulkLine, access: Opened, bodies: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const frames: { id: string; bytes: Uint8Array }[] = [];
    for (const body of bodies) {
      for (const { record, from, to } of eachFrame(body))
        frames.push({ id: idKey(record, RECORD_ID_AT), bytes: body.subarray(from, to) });
    }
    const unknown: Uint8Array[] = [];
    const { haveIds } = this.#options.limits;
    for (let first = 0; first < frames.length; first += haveIds) {
      const part = frames.slice(first, first + haveIds);
      const known = await line.have(access, idsOf(part.map((frame) => frame.id)), this.#signal);
      for (const [place, { id, bytes }] of part.entries()) {
        if (bitOf(known, place)) this.#queue.answeredObject(id);
        else unknown.push(bytes);
      }
    }
    return unknown;
  }

  /** Makes a call, again after a broken line, and in a new session when the server forgot the old one. */
  async #through<Result>(slot: Slot, use: (line: BulkLine, access: Opened) => Promise<Result>): Promise<Result> {
    const { keeper, openLine, patienceMs } = this.#options;
    const patience = new Patience(patienceMs, this.#signal);
    for (;;) {
      const access = await keeper.access();
      if (slot.line === undefined || slot.origin !== access.origin) {
        slot.line?.close();
        slot.line = openLine(access.origin);
        slot.origin = access.origin;
      }
      this.#busySinceTick = true;
      try {
        return await use(slot.line, access);
      } catch (error) {
        if (isGone(error)) await keeper.lost(access);
        else await patience.wait(error);
      }
    }
  }

  #reply({ thread, call, area }: Ask, bytes: Uint8Array): void {
    const isInArea = area !== undefined && bytes.buffer === this.#threads[thread]?.room.buffer;
    if (isInArea) this.#say(thread, { call, area, filled: bytes.length });
    else this.#say(thread, { call, bytes }, [bytes.buffer as ArrayBuffer]);
  }

  #refuse({ thread, call }: Ask, error: unknown): void {
    this.#say(thread, { call, error: plainError(error) });
  }

  #say(thread: number, answer: FromHub, transfer: ArrayBuffer[] = []): void {
    const { port, counters } = this.#threads[thread] as Joined;
    port.postMessage(answer, transfer);
    Atomics.add(counters, Counter.answers, 1);
    Atomics.notify(counters, Counter.answers);
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    // Calls that an abort ends say so in their own words, and may be first.
    this.#failure = this.#options.signal.aborted ? abortReason(this.#options.signal) : error;
    this.#stop.abort();
    for (const ask of [...this.#asks.splice(0), ...this.#early.splice(0)]) this.#refuse(ask, this.#failure);
    for (const { counters } of this.#threads) {
      Atomics.store(counters, Counter.failed, 1);
      Atomics.notify(counters, Counter.unanswered);
    }
    this.#changed();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  #changed(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const each of wake) each();
  }
}

function abortReason({ reason }: AbortSignal): Error {
  return reason instanceof HoldfastError ? reason : new HoldfastError('aborted', 'stopped', { cause: reason });
}

function isGone(error: unknown): boolean {
  if (!(error instanceof HoldfastError)) return false;
  // A server that began anew may look at the token before it looks for the session.
  return error.data.status === 401 || (error.code === 'session-gone' && error.data.status === 404);
}

function sessionLost(cause?: unknown): HoldfastError {
  return new HoldfastError(
    'session-gone',
    'the server began anew and does not have all that this session had; run again: what was sent is kept for a retry',
    { cause },
  );
}
