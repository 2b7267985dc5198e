// A thread's part in the walk over everything that roots reach: claims each object once among all threads, reads metadata, and tells the
// visitor which entry stands for each object. Refs alone are followed, so kinds that this version does not know are walked as well.
import { parseList } from '../../chunker/list.ts';
import { ID_BYTES, Kind, type ObjectId } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { EntrySet } from '../index/entry-set.ts';
import type { IndexLocator, ObjectRefs, ObjectSource } from '../object-source.ts';

export interface Root {
  readonly space: number;
  readonly id: Uint8Array;
}

/** An object that is reachable and cannot be read. */
export interface Unreadable {
  readonly space: number;
  readonly id: string;
  /** Of a data object only its own bytes are lost; behind anything else a whole subtree is unknown (rule G3). */
  readonly isData: boolean;
}

/** What one slice of a walk did. */
export interface WalkProgress {
  readonly isDone: boolean;
  readonly metadataRead: number;
  readonly unreadable: readonly Unreadable[];
}

/** Told the entry of each reachable object; `entry` -1 when there is no copy that can be read. */
export type Visit = (entry: number, space: number, ids: Uint8Array, at: number) => void;

/** Most damage that one walk reports; beyond it a walk ends early, for it has said enough to stop a collection. */
const MAX_UNREADABLE = 10_000;

export class Walk {
  readonly #locator: IndexLocator;
  readonly #source: ObjectSource;
  readonly #visited: EntrySet;
  readonly #visit: Visit;
  #pending: Root[] = [];
  #unreadable: Unreadable[] = [];
  #found = new Int32Array(1024);
  #metadataRead = 0;

  constructor(locator: IndexLocator, source: ObjectSource, visited: EntrySet, visit: Visit) {
    this.#locator = locator;
    this.#source = source;
    this.#visited = visited;
    this.#visit = visit;
  }

  add(roots: readonly Root[]): void {
    for (const { space, id } of roots) this.#children(space, id, false);
  }

  /** Walks on for about `budgetMs` of this thread's time. */
  step(budgetMs: number): WalkProgress {
    const end = performance.now() + budgetMs;
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop()) {
      this.#open(next);
      if (performance.now() > end || this.#unreadable.length > MAX_UNREADABLE) break;
    }
    const progress = {
      isDone: this.#pending.length === 0,
      metadataRead: this.#metadataRead,
      unreadable: this.#unreadable,
    };
    this.#metadataRead = 0;
    this.#unreadable = [];
    return progress;
  }

  /** Gives away half of what waits, for a thread that has nothing left. */
  share(): Root[] {
    return this.#pending.splice(0, Math.floor(this.#pending.length / 2));
  }

  take(roots: readonly Root[]): void {
    this.#pending.push(...roots);
  }

  #open({ space, id }: Root): void {
    let object: ObjectRefs;
    try {
      object = this.#source.refs(space, Buffer.from(id) as ObjectId);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#unreadable.push({ space, id: Buffer.from(id).toString('hex'), isData: false });
      return;
    }
    this.#metadataRead++;
    this.#children(space, object.refs, namesData(object));
  }

  /** Visits objects that something names, and remembers the metadata among them that no thread has claimed yet. */
  #children(space: number, ids: Uint8Array, areData: boolean): void {
    const count = ids.length / ID_BYTES;
    if (this.#found.length < count) this.#found = new Int32Array(count);
    this.#locator.index.firstOfEach(space, ids, this.#found);
    for (let place = 0; place < count; place++) {
      const at = place * ID_BYTES;
      const first = this.#found[place] as number;
      const entry = first >= 0 && this.#locator.isReadable(first) ? first : this.#locator.readable(space, ids, at);
      this.#visit(entry, space, ids, at);
      if (entry < 0) {
        const id = Buffer.from(ids.subarray(at, at + ID_BYTES));
        this.#unreadable.push({
          space,
          id: id.toString('hex'),
          isData: areData || (first >= 0 && this.#locator.isData(first)),
        });
      } else if (this.#visited.add(entry) && !this.#locator.isData(entry)) {
        this.#pending.push({ space, id: Buffer.from(ids.subarray(at, at + ID_BYTES)) });
      }
    }
  }
}

/** Whether all that an object names is data. Of a kind that this version does not know, and of a payload without its key, nothing is assumed. */
function namesData({ kind, refs, payload }: ObjectRefs): boolean {
  if (kind === Kind.page) return true;
  return kind === Kind.list && payload !== undefined && parseList(payload, refs).childKind === Kind.data;
}
