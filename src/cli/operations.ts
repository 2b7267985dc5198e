// What this program does to a datastore on behalf of another process while it holds it: every command that changes the store, but backup.
import { accountSpace } from '../datastore/accounting/account-operation.ts';
import { clearAnomaly } from '../datastore/anomaly/clear-anomaly.ts';
import type { Operation, Operations } from '../datastore/control/operation.ts';
import { collectGarbage } from '../datastore/gc/gc-operation.ts';
import { removePruned } from '../datastore/prune/prune-operation.ts';
import { repairPacks } from '../datastore/repair/repair-operation.ts';
import { changeSnapshot, forgetSnapshot, lockSnapshot } from '../datastore/snapshots/snapshot-operations.ts';
import { verify } from '../datastore/verify/verify-operation.ts';

const ALL: readonly Operation<never, unknown>[] = [
  accountSpace,
  collectGarbage,
  forgetSnapshot,
  changeSnapshot,
  lockSnapshot,
  clearAnomaly,
  removePruned,
  verify,
  repairPacks,
];

export const OPERATIONS: Operations = new Map(ALL.map((operation) => [operation.name, operation]));
