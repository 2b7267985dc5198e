// A list of datastores over a real state, and who changes it in tests.
import { dirname } from 'node:path';
import type { Actor } from '../../src/auth/audit-log.ts';
import { DatastoreList } from '../../src/daemon/datastore-list.ts';
import { localJobs, removeStoreJobs } from '../../src/daemon/jobs/server-jobs.ts';
import { ROOT_USER } from '../../src/schema/auth-id.ts';
import { authTables } from '../../src/state/auth-tables.ts';
import { DatastoreTables } from '../../src/state/datastore-tables.ts';
import type { StateDatabase } from '../../src/state/state-database.ts';

export const ROOT: Actor = { authId: ROOT_USER, address: '' };

/** The directory of the state is taken for that of the server. */
export function listOver(state: StateDatabase): DatastoreList {
  const { audit } = authTables(state);
  return new DatastoreList({
    table: new DatastoreTables(state.db),
    audit,
    transactions: state,
    stateDirectory: dirname(state.path),
    removeJobs: (actor, name) => removeStoreJobs(localJobs({ state, audit, clock: Date.now }), actor, name),
  });
}
