// Finds what a session has in scope: everything that its roots, and those of its owner's manifests, reach (rule S3). In slices, so that a thread
// that serves many sessions goes on with the others in between: also the manifests, of which an owner may have 100,000.
import type { ObjectId } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { EntrySet } from '../index/entry-set.ts';
import { eachRef, type IndexLocator, type ObjectSource } from '../object-source.ts';
import { readRoots } from '../snapshots/manifest-digest.ts';

/** Objects between two looks at the clock. */
const OBJECTS_IN_A_ROW = 16;

export class ScopeWalk {
  readonly #locator: IndexLocator;
  readonly #source: ObjectSource;
  readonly #space: number;
  readonly #scope: EntrySet;
  readonly #pending: ObjectId[] = [];
  readonly #manifests: Iterator<string, undefined>;
  /** The one to be read next: one that could not be read is not passed over. */
  #manifest: string | undefined;
  readonly #visited = new Set<string>();

  /** `roots` in hexadecimal, `manifests` by their paths. */
  constructor(
    store: { locator: IndexLocator; source: ObjectSource },
    space: number,
    roots: readonly string[],
    manifests: Iterator<string, undefined>,
    scope: EntrySet,
  ) {
    this.#locator = store.locator;
    this.#source = store.source;
    this.#space = space;
    this.#scope = scope;
    this.#manifests = manifests;
    this.#manifest = manifests.next().value;
    this.add(roots);
  }

  /** More roots, as of a manifest that goes before it was read. */
  add(roots: readonly string[]): void {
    for (const root of roots) this.#pending.push(Buffer.from(root, 'hex') as ObjectId);
  }

  /** Goes on for about so long; whether it has come to its end. */
  run(budgetMs: number): boolean {
    const end = performance.now() + budgetMs;
    for (let count = 1; ; count++) {
      const id = this.#pending.pop();
      if (id !== undefined) this.#visit(id);
      else if (this.#manifest !== undefined) this.#readManifest(this.#manifest);
      else return true;
      if ((id === undefined || count % OBJECTS_IN_A_ROW === 0) && performance.now() >= end) return false;
    }
  }

  #readManifest(path: string): void {
    this.add(readRoots(path, this.#space));
    this.#manifest = this.#manifests.next().value;
  }

  #visit(id: ObjectId): void {
    markCopies(this.#locator, this.#space, id, 0, this.#scope);
    const entry = this.#locator.readable(this.#space, id);
    if (entry < 0 || this.#locator.isData(entry)) return;
    const name = id.toString('latin1');
    if (this.#visited.has(name)) return;
    this.#visited.add(name);
    for (const ref of this.#refsOf(id)) this.#pending.push(ref);
  }

  /** What an object names; nothing when it is damaged, for then its subtree is not in scope. */
  #refsOf(id: ObjectId): Iterable<ObjectId> {
    try {
      return eachRef(this.#source.refs(this.#space, id).refs);
    } catch (error) {
      if (error instanceof HoldfastError && ['object-damaged', 'object-missing'].includes(error.code)) return [];
      throw error;
    }
  }
}

/** Adds every copy of the object whose id stands at `at` of `ids`. */
export function markCopies(locator: IndexLocator, space: number, ids: Uint8Array, at: number, marks: EntrySet): void {
  const { index } = locator;
  for (let entry = index.first(space, ids, at); entry >= 0; entry = index.next()) marks.add(entry);
}
