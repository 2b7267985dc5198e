// What a process that serves for long sees of a datastore: the objects of all snapshots that were there when it last looked, in its
// threads, and a new look when somebody asks for a younger one. Rule L1: the readers' lock is held all the while.
import type { DataKey } from '../chunker/data-key.ts';
import type { OpenObjects, ReadDatastore } from '../datastore/read-datastore.ts';
import { type SnapshotName, snapshotLabel } from '../datastore/snapshots/group-store.ts';
import type { Namespace } from '../schema/names.ts';
import type { WorkerPool } from '../util/worker-pool.ts';

/** Look-ups go to the index on disk: a server must not take memory for every object of the datastore. */
const EXPECTED_LOOKUPS = 0;

export class ServingView {
  readonly #store: ReadDatastore;
  readonly #pool: WorkerPool;
  readonly #ns: Namespace;
  readonly #report: (message: string) => void;
  readonly #key: DataKey | undefined;
  /** Spaces of the key that somebody asked for: a key has one with each owner. */
  readonly #unlocked = new Set<number>();
  #objects: OpenObjects | undefined;
  #covered: ReadonlySet<string> = new Set();
  #turn: Promise<void> = Promise.resolve();

  private constructor(
    store: ReadDatastore,
    pool: WorkerPool,
    ns: Namespace,
    report: (message: string) => void,
    key: DataKey | undefined,
  ) {
    this.#store = store;
    this.#pool = pool;
    this.#ns = ns;
    this.#report = report;
    this.#key = key;
  }

  static async open(
    store: ReadDatastore,
    pool: WorkerPool,
    ns: Namespace,
    report: (message: string) => void,
    key: DataKey | undefined,
  ): Promise<ServingView> {
    const view = new ServingView(store, pool, ns, report, key);
    await view.#look();
    return view;
  }

  /**
   * Sees to it that the threads can read all objects of a snapshot of the namespace whose manifest was read; `encryptedSpace` when it is
   * encrypted with the key of this view.
   */
  async cover(name: SnapshotName, encryptedSpace: number | undefined): Promise<void> {
    // One after the other: whoever waited may find that it is covered by then.
    const turn = this.#turn.then(async () => {
      const isLocked = encryptedSpace !== undefined && !this.#unlocked.has(encryptedSpace);
      if (isLocked) this.#unlocked.add(encryptedSpace);
      if (isLocked || !this.#covered.has(snapshotLabel(name))) await this.#look();
    });
    this.#turn = turn.catch(() => undefined);
    await turn;
  }

  /** The snapshots first and the index then: whatever a manifest names that is there is found in an index that is loaded after it. */
  async #look(): Promise<void> {
    const covered = new Set<string>();
    for (const group of await this.#store.groups.groups(this.#ns)) {
      for (const time of await this.#store.groups.times(this.#ns, group))
        covered.add(snapshotLabel({ ns: this.#ns, group, time }));
    }
    const before = this.#objects;
    const objects = this.#store.objects(EXPECTED_LOOKUPS);
    for (const warning of objects.warnings) this.#report(warning);
    for (const space of this.#unlocked) objects.unlock(space, this.#key as DataKey);
    await objects.join(this.#pool);
    this.#objects = objects;
    this.#covered = covered;
    // Every thread has answered since, so that none is reading with the old one.
    if (before !== undefined) this.#store.closeObjects(before);
  }
}
