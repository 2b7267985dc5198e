// Cuts and stores the contents of files as their bytes stream by. Bytes of many small files go to a worker in one call of 1 MiB; a content that
// does not end within a call goes on in the same thread, all else goes to the threads in turn. Holds two calls per thread.

import { Content, encodePieces, type FilePiece } from '../../chunker/directory.ts';
import { ListBuilder, type PutObject } from '../../chunker/list.ts';
import { ID_BYTES, Kind, type ObjectId } from '../../chunker/object.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { ContentsWork, CutContents } from '../backup/stream-cutter.ts';
import { MAX_PIECES } from '../tree/content-limits.ts';

const BATCH_BYTES = 1024 * 1024;
/** Holes and tiny contents must not pile up either. */
const BATCH_SEGMENTS = 4096;
const CALLS_PER_THREAD = 2;
const MAX_PIECE_LENGTH = 2 ** 31 - 1;

/** Where the content of a file is, as an entry says it. */
export interface StoredContent {
  readonly content: number;
  readonly contentBytes: Uint8Array;
  readonly refs: Uint8Array;
}

/** A part of one content in a batch. */
interface Segment {
  readonly collector: ContentCollector;
  length: number;
  readonly isHole: boolean;
  /** The last part before a hole or the content's end. */
  final: boolean;
  endsContent: boolean;
}

interface Batch {
  readonly bytes: Buffer;
  used: number;
  readonly segments: Segment[];
}

export class ContentWriter {
  readonly #pool: WorkerPool;
  readonly #session: string;
  readonly #put: PutObject;
  #batch = newBatch();
  #thread = 0;
  /** Whether the last batch ended in the middle of data. */
  #goesOn = false;
  #current: ContentCollector | undefined;
  /** Results are taken in the order of the calls. */
  #turn: Promise<void> = Promise.resolve();
  #waiting: Promise<void>[] = [];

  /** The threads must have been told the parameters with `backup.openStream`. `put` stores lists. */
  constructor(pool: WorkerPool, session: string, put: PutObject) {
    this.#pool = pool;
    this.#session = session;
    this.#put = put;
  }

  /** The content that `write` and `hole` add to from here on; `done` hears, at some time, where it is. */
  begin(done: (content: StoredContent) => void): void {
    this.#current = new ContentCollector(this.#put, done);
  }

  /** Takes a copy. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let taken = 0; taken < bytes.length; ) {
      const part = Math.min(bytes.length - taken, BATCH_BYTES - this.#batch.used);
      this.#batch.bytes.set(bytes.subarray(taken, taken + part), this.#batch.used);
      this.#batch.used += part;
      this.#openSegment().length += part;
      taken += part;
      if (this.#batch.used === BATCH_BYTES) await this.#send();
    }
  }

  async hole(length: number): Promise<void> {
    this.#endData();
    this.#batch.segments.push({ ...this.#segment(true), length });
    if (this.#batch.segments.length >= BATCH_SEGMENTS) await this.#send();
  }

  async end(): Promise<void> {
    this.#endData();
    const last = this.#batch.segments.at(-1);
    if (last !== undefined && last.collector === this.#current) last.endsContent = true;
    else this.#batch.segments.push({ ...this.#segment(true), length: 0, endsContent: true });
    this.#current = undefined;
    if (this.#batch.segments.length >= BATCH_SEGMENTS) await this.#send();
  }

  /** When this is over, every `done` has been called. */
  async finish(): Promise<void> {
    await this.#send();
    await this.#turn;
  }

  #segment(isHole: boolean): Segment {
    return { collector: this.#current as ContentCollector, length: 0, isHole, final: isHole, endsContent: false };
  }

  #openSegment(): Segment {
    const last = this.#batch.segments.at(-1);
    if (last !== undefined && !last.final) return last;
    const segment = this.#segment(false);
    this.#batch.segments.push(segment);
    return segment;
  }

  /** Data that went on from the batch before ends with an empty segment here. */
  #endData(): void {
    const last = this.#batch.segments.at(-1);
    if (last !== undefined && !last.final) last.final = true;
    else if (last === undefined && this.#goesOn) this.#batch.segments.push({ ...this.#segment(false), final: true });
    this.#goesOn = false;
  }

  async #send(): Promise<void> {
    const batch = this.#batch;
    if (batch.segments.length === 0) return;
    this.#batch = newBatch();
    const data = batch.segments.filter(({ isHole }) => !isHole);
    const thread = this.#thread;
    this.#goesOn = batch.segments.at(-1)?.final === false;
    if (!this.#goesOn) this.#thread = (thread + 1) % this.#pool.size;
    const work: ContentsWork = {
      session: this.#session,
      bytes: batch.bytes.subarray(0, batch.used),
      segments: data.map(({ length, final }) => ({ length, final })),
    };
    const call =
      data.length === 0
        ? Promise.resolve<CutContents>({ counts: [], lengths: [], ids: new Uint8Array(0) })
        : this.#pool.call<CutContents>(thread, 'backup.contents', work, [batch.bytes.buffer as ArrayBuffer]);
    this.#turn = this.#turn.then(async () => await takeResults(batch.segments, await call));
    // Whoever waits for the turn hears of a failure, now or at the end: until then it must not end the process.
    call.catch(() => undefined);
    this.#turn.catch(() => undefined);
    this.#waiting.push(this.#turn);
    if (this.#waiting.length >= this.#pool.size * CALLS_PER_THREAD) await this.#waiting.shift();
  }
}

async function takeResults(segments: readonly Segment[], { counts, lengths, ids }: CutContents): Promise<void> {
  let piece = 0;
  let id = 0;
  let place = 0;
  for (const { collector, isHole, length, endsContent } of segments) {
    if (isHole && length > 0) await collector.add(length, undefined);
    if (!isHole)
      for (let left = counts[place++] as number; left > 0; left--) {
        const cut = lengths[piece++] as number;
        if (cut < 0) await collector.add(-cut, undefined);
        else await collector.add(cut, Buffer.from(ids.subarray(id * ID_BYTES, ++id * ID_BYTES)) as ObjectId);
      }
    if (endsContent) await collector.finish();
  }
}

/** The pieces of one content: up to 64 for the entry itself, more in lists. */
class ContentCollector {
  readonly #put: PutObject;
  readonly #done: (content: StoredContent) => void;
  readonly #pieces: FilePiece[] = [];
  readonly #ids: ObjectId[] = [];
  #lists: ListBuilder | undefined;

  constructor(put: PutObject, done: (content: StoredContent) => void) {
    this.#put = put;
    this.#done = done;
  }

  async add(length: number, id: ObjectId | undefined): Promise<void> {
    if (this.#lists === undefined && (this.#pieces.length === MAX_PIECES || length > MAX_PIECE_LENGTH)) {
      this.#lists = new ListBuilder(Kind.data, this.#put);
      const ids = this.#ids.values();
      for (const piece of this.#pieces)
        await this.#lists.add({ length: piece.length, id: piece.isHole ? undefined : ids.next().value });
    }
    if (this.#lists !== undefined) return await this.#lists.add({ length, id });
    this.#pieces.push({ length, isHole: id === undefined });
    if (id !== undefined) this.#ids.push(id);
  }

  async finish(): Promise<void> {
    const none = new Uint8Array(0);
    if (this.#lists !== undefined)
      this.#done({ content: Content.list, contentBytes: none, refs: await this.#lists.finish() });
    else
      this.#done({
        content: Content.pieces,
        contentBytes: encodePieces(this.#pieces),
        refs: Buffer.concat(this.#ids),
      });
  }
}

function newBatch(): Batch {
  return { bytes: Buffer.allocUnsafeSlow(BATCH_BYTES), used: 0, segments: [] };
}
