// What was made of files, kept in memory as long as time, size and number of each file stay: a question about all of them opens those that it
// has not seen, and looks once at the others. Bounded; what was not asked for longest goes first.
import { existsSync, statSync } from 'node:fs';
import { WorkSlices } from './work-slices.ts';

/** What is known of a file, or a directory, without opening it. */
export interface FileLook {
  readonly bytes: number;
  /** When its content, or its list of names, last changed: Unix milliseconds. */
  readonly changedMs: number;
  /** Of the file beside it; undefined when there is none. */
  readonly besideBytes: number | undefined;
}

/** A file, and where it matters another one that is written once and may be missing. */
export type WatchedFile = string | { readonly path: string; readonly beside: string };

/**
 * Of a list that is longer than all that is kept each file would push out one that comes later in it, so that none is found at the next question. So
 * few files that are still there are pushed out: so many at once, and then one in so many questions.
 */
const PUSHED_OUT = { atOnce: 16, everyQuestions: 16 };

/** `cost` is what keeping it takes of the whole; infinite for what is not to be kept. */
export interface Made<Value> {
  readonly value: Value;
  readonly cost: number;
}

interface Kept<Value> extends Made<Value> {
  readonly stamp: string;
}

export class RememberedFiles<Value> {
  readonly #maxCost: number;
  /** In the order of their last use. */
  readonly #kept = new Map<string, Kept<Value>>();
  readonly #slices = new WorkSlices();
  #cost = 0;
  #mayPushOut = PUSHED_OUT.atOnce;

  constructor(maxCost: number) {
    this.#maxCost = maxCost;
  }

  /** What is kept of a file, or what `make` makes of it now. Undefined when it is not there. */
  async get(file: WatchedFile, make: (look: FileLook) => Promise<Made<Value> | undefined>): Promise<Value | undefined> {
    const { path, beside } = typeof file === 'string' ? { path: file, beside: undefined } : file;
    await this.#slices.next();
    this.#mayPushOut = Math.min(PUSHED_OUT.atOnce, this.#mayPushOut + 1 / PUSHED_OUT.everyQuestions);
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    const kept = this.#take(path);
    if (found === undefined) return undefined;
    // Files are replaced by renaming: a changed one has another number. One that is replaced while it is read is kept with the stamp of
    // before, and read again at the next question.
    const besideBytes = beside === undefined ? undefined : statSync(beside, { throwIfNoEntry: false })?.size;
    const stamp = `${found.mtimeNs} ${found.size} ${found.ino} ${besideBytes}`;
    if (kept?.stamp === stamp) {
      this.#keep(path, kept);
      return kept.value;
    }
    const changedMs = Number(found.mtimeNs / 1_000_000n);
    const made = await make({ bytes: Number(found.size), changedMs, besideBytes });
    if (made !== undefined && this.#hasRoom(path, made.cost)) this.#keep(path, { ...made, stamp });
    return made?.value;
  }

  #take(path: string): Kept<Value> | undefined {
    const kept = this.#kept.get(path);
    if (kept === undefined) return undefined;
    this.#kept.delete(path);
    this.#cost -= kept.cost;
    return kept;
  }

  /** Makes room for a file that was read, if it may have some. */
  #hasRoom(path: string, cost: number): boolean {
    if (cost > this.#maxCost) return false;
    // Another question may have kept it meanwhile.
    this.#take(path);
    for (const oldest of this.#kept.keys()) {
      if (this.#cost + cost <= this.#maxCost) break;
      if (existsSync(oldest)) {
        if (this.#mayPushOut < 1) return false;
        this.#mayPushOut -= 1;
      }
      this.#take(oldest);
    }
    return true;
  }

  #keep(path: string, kept: Kept<Value>): void {
    this.#kept.set(path, kept);
    this.#cost += kept.cost;
  }
}
