// A repository as commands that read see it, wherever it is: questions to ask of it, and the objects of its snapshots.
import type { GetObject } from '../agent/tree/read-tree.ts';
import type { DataKey } from '../chunker/data-key.ts';
import type { Query } from '../datastore/control/query.ts';
import type { SnapshotName } from '../datastore/snapshots/group-store.ts';
import type { Manifest } from '../schema/manifest.ts';
import type { WorkerPool } from '../util/worker-pool.ts';

export interface Repository {
  ask<Argument, Answer>(query: Query<Argument, Answer>, argument: Argument, signal?: AbortSignal): Promise<Answer>;
  /**
   * Opens the objects of snapshots that are in one space. They stay open as long as the repository.
   * @throws `key-missing`, `key-wrong`, `manifest-altered`.
   */
  open(snapshots: readonly FoundSnapshot[], key: DataKey | undefined, use: ExpectedUse): Promise<SnapshotObjects>;
}

export interface FoundSnapshot {
  readonly name: SnapshotName;
  readonly manifest: Manifest;
}

export interface ExpectedUse {
  /** How many objects will be asked for: with few, the index of a directory stays on disk. */
  readonly lookups: number;
  /** Threads of the pool. */
  readonly workers: number;
}

export interface SnapshotObjects {
  /** Reads an object. */
  readonly get: GetObject;
  /** Threads that read the same objects, started at the first call. */
  pool(): Promise<WorkerPool>;
  /** At a server: has the threads read in a new session, for one that was lost. Waits for a server that is away. */
  readonly reopen?: () => Promise<void>;
}
