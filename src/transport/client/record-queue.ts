// Records of all threads on their way to the server, and their order: one that names others leaves when those were answered, or earlier in
// the same body. What was not answered is kept. Pure: it knows neither lines nor threads.
import { ID_BYTES } from '../../chunker/object.ts';
import { RECORD_ID_AT, readRecordHeader, recordRefs } from '../../chunker/record.ts';
import { eachFrame, idKey } from './frames.ts';

/** Data records that came together are one run, up to this size: what is asked about after a broken line, and sent again, is small. */
const MAX_RUN_BYTES = 512 * 1024;

/** Records that go together: one that names others, or several of data. */
export interface Run {
  /** Whose they are. */
  readonly owner: number;
  readonly frames: Uint8Array;
  /** Keys of their ids. */
  readonly ids: readonly string[];
  /** What is named and not answered yet. */
  readonly waitsFor: ReadonlySet<string>;
}

interface WaitingRun extends Run {
  readonly waitsFor: Set<string>;
}

export class RecordQueue {
  #waiting: WaitingRun[] = [];
  /** Every id that was not answered, waiting or on its way. */
  readonly #unanswered = new Set<string>();
  /** Who waits for an id. */
  readonly #waiters = new Map<string, WaitingRun[]>();
  #runs = 0;

  /** Whether everything was answered. */
  get isEmpty(): boolean {
    return this.#runs === 0;
  }

  /** Whether the object is waiting or on its way. */
  has(id: string): boolean {
    return this.#unanswered.has(id);
  }

  /** Takes frames of several owners at once: what one of them names may be another's. */
  add(batches: readonly { readonly owner: number; readonly frames: Uint8Array }[]): void {
    const runs = batches.flatMap(({ owner, frames }) => runsOf(owner, frames));
    for (const run of runs) for (const id of run.ids) this.#unanswered.add(id);
    for (const { refs, ...run } of runs) {
      const waiting = { ...run, waitsFor: new Set(refs.filter((id) => this.#unanswered.has(id))) };
      for (const id of waiting.waitsFor) {
        const others = this.#waiters.get(id);
        if (others === undefined) this.#waiters.set(id, [waiting]);
        else others.push(waiting);
      }
      this.#waiting.push(waiting);
    }
    this.#runs += runs.length;
  }

  /** What may leave now in one body of about `mostBytes`, in order; undefined when nothing may. A run that is larger goes alone. */
  take(mostBytes: number): Run[] | undefined {
    const body: Run[] = [];
    const inBody = new Set<string>();
    const left: WaitingRun[] = [];
    let bytes = 0;
    for (const run of this.#waiting) {
      const fits = body.length === 0 || bytes + run.frames.length <= mostBytes;
      if (!fits || !isSubset(run.waitsFor, inBody)) {
        left.push(run);
        continue;
      }
      body.push(run);
      bytes += run.frames.length;
      for (const id of run.ids) inBody.add(id);
    }
    if (body.length === 0) return undefined;
    this.#waiting = left;
    return body;
  }

  /** Runs that were taken are answered. */
  answered(runs: readonly Run[]): void {
    for (const run of runs) {
      this.#runs--;
      for (const id of run.ids) this.answeredObject(id);
    }
  }

  /** The server has an object, whatever became of the rest of its run. */
  answeredObject(id: string): void {
    this.#unanswered.delete(id);
    for (const waiting of this.#waiters.get(id) ?? []) waiting.waitsFor.delete(id);
    this.#waiters.delete(id);
  }
}

function isSubset(few: ReadonlySet<string>, many: ReadonlySet<string>): boolean {
  for (const id of few) if (!many.has(id)) return false;
  return true;
}

function runsOf(owner: number, frames: Uint8Array): (Omit<Run, 'waitsFor'> & { refs: string[] })[] {
  const runs: (Omit<Run, 'waitsFor'> & { refs: string[] })[] = [];
  let ids: string[] = [];
  let start = 0;
  const endRun = (end: number): void => {
    if (ids.length > 0) runs.push({ owner, frames: frames.subarray(start, end), ids, refs: [] });
    ids = [];
    start = end;
  };
  for (const { record, from, to } of eachFrame(frames)) {
    const header = readRecordHeader(record);
    if (header === undefined) throw new Error('a thread handed over what is no record');
    const id = idKey(record, RECORD_ID_AT);
    if (header.refCount > 0) {
      endRun(from);
      const refs = recordRefs(record, header);
      const named = Array.from({ length: header.refCount }, (_, place) => idKey(refs, place * ID_BYTES));
      runs.push({ owner, frames: frames.subarray(from, to), ids: [id], refs: named });
      start = to;
      continue;
    }
    if (to - start > MAX_RUN_BYTES) endRun(from);
    ids.push(id);
  }
  endRun(frames.length);
  return runs;
}
