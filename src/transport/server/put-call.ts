// The call `put`: records are checked and stored as they arrive. While one is stored the socket is not read, and after a turn's worth the other
// connections of the thread come first.
import { ID_BYTES } from '../../chunker/object.ts';
import { RECORD_ID_AT } from '../../chunker/record.ts';
import { HoldfastError } from '../../util/errors.ts';
import { LARGE_RECORD_BYTES_PER_MS, LARGE_RECORD_MS } from './bulk-limits.ts';
import type { RecordSink } from './bulk-objects.ts';
import type { FrameReader } from './frame-reader.ts';
import type { LargeRecords } from './large-records.ts';
import type { RequestBody } from './request-body.ts';
import { WorkTurn } from './work-turn.ts';

const ID_END = RECORD_ID_AT + ID_BYTES;

export interface PutOptions {
  readonly session: string;
  readonly body: RequestBody;
  readonly sink: RecordSink;
  /** The connection's. */
  readonly frames: FrameReader;
  /** The thread's. */
  readonly large: LargeRecords;
  /** Most bytes of the body. */
  readonly maxBytes: number;
}

export class PutCall {
  readonly #options: PutOptions;
  readonly #turn = new WorkTurn();
  #records = 0;
  #bytes = 0;
  #leaveLarge: (() => void) | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #resolve: (records: number) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #isOver = false;

  constructor(options: PutOptions) {
    this.#options = options;
  }

  /**
   * Takes the body over; returns how many records it had.
   * @throws what refuses a record, with its place and id in `data`; `aborted` when the line breaks.
   */
  async run(): Promise<number> {
    const { body, frames } = this.#options;
    frames.reset();
    try {
      return await new Promise<number>((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
        body.read({
          part: (bytes) => this.#take(bytes),
          end: () => this.#finish(),
          lost: () => this.#fail(new HoldfastError('aborted', 'the client broke the call off')),
        });
      });
    } finally {
      this.#isOver = true;
      this.#turn.end();
      this.#noLongerLarge();
      frames.reset();
    }
  }

  #take(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#bytes += chunk.length;
    if (this.#bytes > this.#options.maxBytes) {
      this.#fail(new HoldfastError('too-large', `a put takes ${this.#options.maxBytes} bytes at most`));
      return;
    }
    this.#options.frames.give(chunk);
    this.#work();
  }

  #work(): void {
    if (this.#isOver) return;
    const { body, frames } = this.#options;
    try {
      for (let record = this.#nextRecord(); record !== undefined; record = this.#nextRecord()) {
        this.#store(record);
        if (!this.#turn.isOver) continue;
        this.#wait();
        this.#turn.next(() => this.#work());
        return;
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (frames.largeBytes > 0) this.#waitForPlace(frames.largeBytes);
    else body.resume();
  }

  /** Takes no more bytes, and keeps those that it has. */
  #wait(): void {
    this.#options.body.pause();
    this.#options.frames.keep();
  }

  #nextRecord(): Buffer | undefined {
    try {
      return this.#options.frames.next();
    } catch (error) {
      throw at(error, this.#records, undefined);
    }
  }

  #store(record: Buffer): void {
    try {
      this.#options.sink.putRecord(record);
    } catch (error) {
      const id = record.length < ID_END ? undefined : record.toString('hex', RECORD_ID_AT, ID_END);
      throw at(error, this.#records, id);
    }
    this.#records++;
    this.#turn.spend(record.length);
    this.#noLongerLarge();
  }

  #waitForPlace(bytes: number): void {
    const { frames, large, session } = this.#options;
    // It stands already, and its record has not begun to be copied.
    if (this.#leaveLarge !== undefined) return;
    this.#wait();
    this.#leaveLarge = large.take(session, () => {
      frames.allowLarge();
      const ms = LARGE_RECORD_MS + bytes / LARGE_RECORD_BYTES_PER_MS;
      this.#deadline = setTimeout(() => {
        this.#fail(new HoldfastError('timed-out', `a record of ${bytes} bytes did not arrive within ${ms} ms`));
      }, ms);
      this.#turn.next(() => this.#work());
    });
  }

  #noLongerLarge(): void {
    clearTimeout(this.#deadline);
    this.#leaveLarge?.();
    this.#leaveLarge = undefined;
  }

  #finish(): void {
    if (!this.#options.frames.isWithin) this.#resolve(this.#records);
    else this.#fail(at(new HoldfastError('bad-argument', 'the body ends within a record'), this.#records, undefined));
  }

  #fail(error: unknown): void {
    this.#isOver = true;
    this.#reject(error);
  }
}

/** The error with the place and the id of its record; what it named, when that is the trouble, moves to `ref`. */
function at(error: unknown, index: number, id: string | undefined): unknown {
  if (!(error instanceof HoldfastError)) return error;
  const ref = error.code === 'out-of-scope' ? { ref: error.data.id } : {};
  const data = { ...error.data, ...ref, index, id: id ?? null };
  return new HoldfastError(error.code, error.message, { cause: error, data });
}
