// Cuts and stores the contents of files as their bytes stream by. Bytes of many small files go to a worker in one call of 1 MiB; a content that
// does not end within a call goes on in the same thread, all else goes to the threads in turn. Holds two calls per thread.

import type { PutObject } from '../../chunker/list.ts';
import { ID_BYTES } from '../../chunker/object.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { ContentsWork, CutContents } from '../backup/stream-cutter.ts';
import { ContentBuilder, type EntryContent } from '../tree/content-builder.ts';

const BATCH_BYTES = 1024 * 1024;
/** Holes and tiny contents must not pile up either. */
const BATCH_SEGMENTS = 4096;
const CALLS_PER_THREAD = 2;

interface OpenContent {
  readonly builder: ContentBuilder;
  readonly done: (content: EntryContent) => void;
}

/** A part of one content in a batch. */
interface Segment {
  readonly content: OpenContent;
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
  #current: OpenContent | undefined;
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
  begin(done: (content: EntryContent) => void): void {
    this.#current = { builder: new ContentBuilder(this.#put), done };
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
    if (last !== undefined && last.content === this.#current) last.endsContent = true;
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
    return { content: this.#current as OpenContent, length: 0, isHole, final: isHole, endsContent: false };
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
  let place = 0;
  for (const { content, isHole, length, endsContent } of segments) {
    if (isHole && length > 0) await content.builder.addHole(length);
    if (!isHole)
      for (let left = counts[place++] as number; left > 0; left--) {
        const id = ids.subarray(piece * ID_BYTES, (piece + 1) * ID_BYTES);
        await content.builder.addData(lengths[piece++] as number, id);
      }
    if (endsContent) content.done(await content.builder.finish());
  }
}

function newBatch(): Batch {
  return { bytes: Buffer.allocUnsafeSlow(BATCH_BYTES), used: 0, segments: [] };
}
