// Changes of one snapshot, as operations.

import { Type } from 'typebox';
import { Count } from '../../schema/answer-parts.ts';
import type { Operation } from '../control/operation.ts';
import { type SnapshotName, snapshotLabel } from './group-store.ts';

export interface SnapshotChange {
  readonly name: SnapshotName;
  readonly change: { readonly notes?: string; readonly protected?: boolean };
}

export const forgetSnapshot: Operation<SnapshotName, { snapshot: string; forgotten: true }> = {
  name: 'forget',
  answer: Type.Object({ snapshot: Type.String(), forgotten: Type.Literal(true) }),
  run: async (store, name) => {
    await store.forget(name);
    return { snapshot: snapshotLabel(name), forgotten: true };
  },
};

export interface LockRequest {
  readonly name: SnapshotName;
  readonly forMs: number;
}

export const lockSnapshot: Operation<
  LockRequest,
  { snapshot: string; lockedUntilClockMs: number; lockRemainingMs: number }
> = {
  name: 'lock',
  answer: Type.Object({ snapshot: Type.String(), lockedUntilClockMs: Count, lockRemainingMs: Count }),
  run: async (store, { name, forMs }) => {
    const { lockedUntilClockMs, remainingMs } = await store.lockSnapshot(name, forMs);
    return { snapshot: snapshotLabel(name), lockedUntilClockMs, lockRemainingMs: remainingMs };
  },
};

export const changeSnapshot: Operation<SnapshotChange, { snapshot: string; protected: boolean; notes: string }> = {
  name: 'change',
  answer: Type.Object({ snapshot: Type.String(), protected: Type.Boolean(), notes: Type.String() }),
  run: async (store, { name, change }, { isOnlyOwner }) => {
    const { server } = await store.updateSnapshot(name, change, isOnlyOwner !== true);
    return { snapshot: snapshotLabel(name), protected: server.protected, notes: server.notes };
  },
};
