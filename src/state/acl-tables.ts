// The list of rights in the state database, and what permissions are computed from.
import type { Database } from 'better-sqlite3';
import type { AclStore, StoredAclEntry, TokenStore, UserStore } from '../auth/access-store.ts';
import type { RightsSource } from '../auth/permissions.ts';
import type { RoleName } from '../auth/privileges.ts';
import type { AuthId } from '../schema/auth-id.ts';
import { pooledPaths } from './pool-tables.ts';

interface AclRow {
  readonly path: string;
  readonly auth_id: string;
  readonly role: string;
  readonly propagate: number;
}

/** `changed` is called after each change. */
export function aclTable(db: Database, changed: () => void): AclStore {
  const list = db.prepare<[], AclRow>('SELECT path, auth_id, role, propagate FROM acl ORDER BY path, auth_id, role');
  const set = db.prepare<AclRow>(
    `INSERT INTO acl (path, auth_id, role, propagate) VALUES (@path, @auth_id, @role, @propagate)
     ON CONFLICT DO UPDATE SET propagate = excluded.propagate`,
  );
  const remove = db.prepare<[string, string, string]>('DELETE FROM acl WHERE path = ? AND auth_id = ? AND role = ?');
  const removeOf = db.prepare<[string]>('DELETE FROM acl WHERE auth_id = ?');
  const removeBelow = db.prepare<{ path: string; below: string }>(
    'DELETE FROM acl WHERE path = @path OR substr(path, 1, length(@below)) = @below',
  );
  return {
    list: () => list.all().map(entryOf),
    set({ path, authId, role, propagate }) {
      set.run({ path, auth_id: authId, role, propagate: propagate ? 1 : 0 });
      changed();
    },
    delete({ path, authId, role }) {
      remove.run(path, authId, role);
      changed();
    },
    deleteOf(authId) {
      removeOf.run(authId);
      changed();
    },
    deleteBelow(path) {
      const { changes } = removeBelow.run({ path, below: path.endsWith('/') ? path : `${path}/` });
      changed();
      return changes;
    },
  };
}

/** `ownChanges` counts what this process changed; SQLite counts what others did. */
export function rightsTable(
  db: Database,
  users: Pick<UserStore, 'find'>,
  tokens: Pick<TokenStore, 'find'>,
  ownChanges: () => number,
): RightsSource {
  const ofOthers = db.prepare<[], number>('PRAGMA data_version').pluck();
  const pooled = pooledPaths(db);
  const aclOf = db.prepare<[string], AclRow>('SELECT path, auth_id, role, propagate FROM acl WHERE auth_id = ?');
  let seen: number | undefined;
  let generation = 0;
  let ownSeen = 0;
  return {
    generation() {
      const version = ofOthers.get();
      const own = ownChanges();
      if (version !== seen || own !== ownSeen) generation++;
      seen = version;
      ownSeen = own;
      return generation;
    },
    userState: (user) => users.find(user),
    tokenState: (user, tokenName) => tokens.find(user, tokenName),
    aclOf: (authId) => aclOf.all(authId).map(entryOf),
    pooled,
  };
}

// Rows were checked when they were written.
function entryOf({ path, auth_id, role, propagate }: AclRow): StoredAclEntry {
  return { path, authId: auth_id as AuthId, role: role as RoleName, propagate: propagate === 1 };
}
