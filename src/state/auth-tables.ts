// Everything that access control keeps, over one state database.

import type { AccessStores } from '../auth/access-services.ts';
import type { SecretStore } from '../auth/access-store.ts';
import { aclTable, rightsTable } from './acl-tables.ts';
import { type AuditRetention, auditTable } from './audit-table.ts';
import { poolTable } from './pool-tables.ts';
import { secondFactorTable } from './second-factor-tables.ts';
import type { StateDatabase } from './state-database.ts';
import { tokenTable, userTable } from './user-tables.ts';

/** `clock` gives Unix milliseconds, for the audit log. */
export function authTables(
  state: StateDatabase,
  clock: () => number = Date.now,
  retention?: AuditRetention,
): AccessStores {
  const { db } = state;
  let ownChanges = 0;
  const changed = (): void => {
    ownChanges++;
  };
  const users = userTable(db, changed);
  const tokens = tokenTable(db, changed);
  return {
    users,
    tokens,
    acl: aclTable(db, changed),
    pools: poolTable(db, changed),
    secondFactors: secondFactorTable(db),
    secrets: secretTable(state),
    audit: auditTable(db, clock, retention),
    rights: rightsTable(db, users, tokens, () => ownChanges),
    transactions: { atomically: (work) => within(state, work, changed) },
  };
}

/** What was read of rights within a change that did not come to be counts no more. */
function within<T>(state: StateDatabase, work: () => T, changed: () => void): T {
  try {
    return state.atomically(work);
  } catch (error) {
    changed();
    throw error;
  }
}

function secretTable({ db }: StateDatabase): SecretStore {
  const find = db.prepare<[string], Buffer>('SELECT value FROM secrets WHERE name = ?').pluck();
  const insert = db.prepare<[string, Uint8Array]>('INSERT INTO secrets (name, value) VALUES (?, ?)');
  return {
    find: (name) => find.get(name),
    insert: (name, value) => void insert.run(name, value),
  };
}
