// What a backup needs of a guest's disks, whether it runs or not: one point in time, disks to read, what changed, and a way to end it.
import type { DiskSource, Range } from '../sources/source.ts';
import type { BasePlan } from './choose-base.ts';

export interface OpenedVm {
  readonly plan: BasePlan;
  /** Opens each disk, by key. */
  readonly sources: ReadonlyMap<string, (signal: AbortSignal) => Promise<DiskSource>>;
  /** By disk key, for those that are incremental. */
  readonly changed: ReadonlyMap<string, readonly Range[]>;
  /** What a read that failed comes from, when the guest's side knows better; else the error as it is. */
  explain(error: unknown): Promise<unknown>;
  /**
   * Takes everything apart. Once the snapshot is recorded the new bitmaps count; without, the old ones count on, with what was written meanwhile.
   */
  close(): Promise<void>;
}
