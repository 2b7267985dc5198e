// A datastore as readers see it: no lock but the readers' one, no recovery, nothing changed on disk. Works beside a running holder and
// on a read-only file system. Rule L1.

import { randomUUID } from 'node:crypto';
import { closeSync } from 'node:fs';
import { resolve } from 'node:path';
import type { DataKey } from '../chunker/data-key.ts';
import { objectKeyOf } from '../chunker/object-codec.ts';
import type { DatastoreConfig } from '../schema/state-files.ts';
import { DurableDirectories } from '../util/durable-directories.ts';
import { SharedBuffers } from '../util/shared-buffers.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { readConfig } from './config.ts';
import { DiskLocator } from './index/disk-locator.ts';
import { insertEntry, type LoadedIndex, loadIndex } from './index/load-index.ts';
import { joinThreads } from './join-threads.ts';
import { Layout } from './layout.ts';
import { requireOnline } from './limits/maintenance.ts';
import { type HeldLock, holdAsReader } from './lock.ts';
import { IndexLocator, ObjectSource } from './object-source.ts';
import { openFirst, readersPackFiles } from './packs/pack-files.ts';
import { PackReader } from './packs/pack-reader.ts';
import { readPackHeader, scanRecords } from './packs/pack-scan.ts';
import { GroupStore } from './snapshots/group-store.ts';
import { fingerprintOf } from './spaces.ts';
import type { SpaceKey } from './store-thread.ts';

/** Loading an entry costs 0.3 us (10 M in 3.4 s), a look-up on disk is estimated at some 8 us: below this share of look-ups the index stays on disk. */
const LOOKUPS_PER_ENTRY_WORTH_LOADING = 1 / 25;

export class ReadDatastore {
  readonly config: DatastoreConfig;
  readonly layout: Layout;
  readonly groups: GroupStore;
  readonly #lock: HeldLock;
  readonly #open: OpenObjects[] = [];

  private constructor(layout: Layout, config: DatastoreConfig, lock: HeldLock) {
    this.layout = layout;
    this.config = config;
    this.groups = new GroupStore(layout, new DurableDirectories(layout.root));
    this.#lock = lock;
  }

  /** Opens it, when `evenOffline` also for a look at an offline one. @throws `datastore-foreign`, `datastore-newer`, `datastore-maintenance`. */
  static async open(root: string, evenOffline = false): Promise<ReadDatastore> {
    const layout = new Layout(resolve(root));
    const config = await readConfig(layout, false);
    if (!evenOffline) await requireOnline(layout);
    return new ReadDatastore(layout, config, holdAsReader(layout));
  }

  /** Makes objects readable in this thread. `expectedLookups` decides whether the index is loaded or stays on disk. */
  objects(expectedLookups: number): OpenObjects {
    const opened = OpenObjects.open(this.layout, Buffer.from(this.config.store, 'hex'), expectedLookups);
    this.#open.push(opened);
    return opened;
  }

  /** Closes objects that were opened before, once no thread uses them. */
  closeObjects(opened: OpenObjects): void {
    this.#open.splice(this.#open.indexOf(opened), 1);
    opened.close();
  }

  close(): void {
    for (const opened of this.#open) opened.close();
    this.#lock.release();
  }
}

/** The index of a store opened for reading, and a reader in this thread; other threads may join. */
export class OpenObjects {
  readonly source: ObjectSource;
  readonly warnings: readonly string[];
  readonly #layout: Layout;
  readonly #storeId: Buffer;
  readonly #shared: SharedBuffers;
  readonly #loaded: LoadedIndex;
  readonly #keys: SpaceKey[] = [];

  private constructor(layout: Layout, storeId: Buffer, shared: SharedBuffers, loaded: LoadedIndex) {
    this.#layout = layout;
    this.#storeId = storeId;
    this.#shared = shared;
    this.#loaded = loaded;
    this.warnings = loaded.warnings;
    const locator =
      loaded.snapshot === undefined
        ? new IndexLocator(loaded.index, loaded.packs, () => {})
        : new DiskLocator(loaded.snapshot, loaded.index);
    const reader = new PackReader(layout, loaded.packs);
    this.source = new ObjectSource(locator, reader, (space) => fingerprintOf(layout, space));
  }

  static open(layout: Layout, storeId: Buffer, expectedLookups: number): OpenObjects {
    const shared = new SharedBuffers(`holdfast-${randomUUID()}`);
    const files = readersPackFiles(layout);
    const loaded = loadIndex(
      layout,
      storeId,
      shared,
      files,
      (entries) => expectedLookups < entries * LOOKUPS_PER_ENTRY_WORTH_LOADING,
    );
    scanOpenPacks(layout, storeId, files.open, loaded);
    return new OpenObjects(layout, storeId, shared, loaded);
  }

  /** Makes an encrypted space readable here, and in the threads that join after this. */
  unlock(space: number, key: DataKey): void {
    this.source.unlock(space, key);
    this.#keys.push({ space, key: objectKeyOf(key) });
  }

  /** Lets the pool's threads read too. */
  async join(pool: WorkerPool): Promise<void> {
    await joinThreads(pool, this.#shared, {
      root: this.#layout.root,
      storeId: this.#storeId.toString('hex'),
      epoch: 0,
      packs: this.#loaded.packs.buffer,
      live: undefined,
      snapshot: this.#loaded.snapshot?.descriptor,
      keys: this.#keys,
    });
  }

  close(): void {
    this.source.packs.close();
    this.#loaded.snapshot?.close();
    this.#shared.close();
  }
}

/** Records that a running or crashed holder has written but not sealed; a committed snapshot may rely on them. */
function scanOpenPacks(layout: Layout, storeId: Buffer, open: readonly Buffer[], loaded: LoadedIndex): void {
  for (const packId of open) {
    // Sealed since the listing, and even dropped; nowhere any more when it was given up before anything in it was published.
    const fd = openFirst([layout.openPack(packId), layout.sealedPack(packId), layout.condemnedPack(packId)]);
    if (fd === undefined) continue;
    try {
      const header = readPackHeader(fd);
      if (header === undefined || !header.storeId.equals(storeId)) continue;
      const pack = loaded.packs.addSealed(packId, header.kind, 0x7fffffff);
      for (const entry of scanRecords(fd, header)) insertEntry(loaded.index, pack, entry);
    } finally {
      closeSync(fd);
    }
  }
}
