// What this program does to a datastore on behalf of another process while it holds it: every command that changes the store, but backup.
import { accountSpace } from '../datastore/accounting/account.ts';
import type { Operation, Operations } from '../datastore/control/operation.ts';
import { collectGarbage } from '../datastore/gc/gc-operation.ts';
import { changeSnapshot, forgetSnapshot } from '../datastore/snapshots/snapshot-operations.ts';

const ALL: readonly Operation<never, unknown>[] = [accountSpace, collectGarbage, forgetSnapshot, changeSnapshot];

export const OPERATIONS: Operations = new Map(ALL.map((operation) => [operation.name, operation]));
