// What is kept of pools: guests and storages under a name, on which rights and backup jobs can stand. Nothing here knows SQL.
import type { PoolId } from '../schema/pool-id.ts';

export interface PoolMembers {
  /** By number. */
  readonly vms: readonly number[];
  /** By name. */
  readonly storages: readonly string[];
}

export interface Pool extends PoolMembers {
  readonly poolid: PoolId;
  /** Empty when not given. */
  readonly comment: string;
}

export interface PoolStore {
  /** By name. */
  list(): readonly Pool[];
  find(poolid: PoolId): Pool | undefined;
  /** The one pool that a guest is in. */
  poolOf(vmid: number): PoolId | undefined;
  /** Of guests and storages in all pools. */
  memberCount(): number;
  insert(poolid: PoolId, comment: string): void;
  setComment(poolid: PoolId, comment: string): void;
  /** With what it says of its members. */
  delete(poolid: PoolId): void;
  /** Out of any other pool, too. */
  putGuest(poolid: PoolId, vmid: number): void;
  /** One that is in none is no error. */
  takeGuest(vmid: number): void;
  putStorage(poolid: PoolId, storage: string): void;
  takeStorage(poolid: PoolId, storage: string): void;
  /** `KIND/ID` of the jobs that name it. */
  jobsOf(poolid: PoolId): readonly string[];
}
