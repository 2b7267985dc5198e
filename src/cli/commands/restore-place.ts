// What the restores of disks, trees and tar archives have in common: where from, where to, and how to open the objects.
import type { GetObject } from '../../agent/tree/read-tree.ts';
import type { Archive } from '../../schema/manifest.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { Surroundings } from '../surroundings.ts';

/** Runs `use` with threads that read the snapshot's objects, and a way to read single ones. `lookups`: how many objects will be asked for. */
export type WithObjects = <Result>(
  workers: number,
  lookups: number,
  use: (pool: WorkerPool, get: GetObject) => Promise<Result>,
) => Promise<Result>;

export interface RestorePlace {
  /** `vm/101/2026-11-20T02:00:00Z`. */
  readonly snapshot: string;
  readonly archive: Archive;
  readonly space: number;
  /** A path, or `-` for standard output. */
  readonly target: string;
  readonly averageBytes: number;
  /** Threads to use when there is enough to do. */
  readonly workers: number;
  readonly signal: AbortSignal;
  readonly onProgress: (bytesDone: number, bytesTotal: number) => void;
  /** Before anything is printed. */
  readonly endProgress: () => void;
  readonly warn: Surroundings['warn'];
  readonly tell: Surroundings['tell'];
  readonly durationMs: () => number;
  readonly withObjects: WithObjects;
}

/** Threads for all of an archive: one for a small one, for which starting more would take longer. */
export function threadsFor({ archive, averageBytes, workers }: RestorePlace): number {
  return archive.sizeBytes > averageBytes * 16 ? workers : 1;
}
