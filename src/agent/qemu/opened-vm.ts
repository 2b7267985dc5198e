// What a backup needs of a guest's disks, whether it runs or not: one point in time, disks to read, what changed, and a way to end it well or badly.
import type { Manifest } from '../../schema/manifest.ts';
import type { Range } from '../sources/source.ts';
import type { BasePlan } from './choose-base.ts';

export interface OpenedVm {
  readonly plan: BasePlan;
  /** How `openDiskSource` finds each disk, by key. */
  readonly sources: ReadonlyMap<string, string>;
  /** By disk key, for those that are incremental. */
  readonly changed: ReadonlyMap<string, readonly Range[]>;
  /** Why nothing more can be read, when the guest's side knows; undefined otherwise. */
  broken(): Error | undefined;
  /** The snapshot stands: from now on the new bitmaps count. Takes everything apart. */
  finish(manifest: Manifest): Promise<void>;
  /** There is no snapshot: the old bitmaps count on, with what was written meanwhile. Takes everything apart. */
  abandon(): Promise<void>;
}
