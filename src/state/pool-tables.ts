// Pools and their members in the state database.
import type { Database } from 'better-sqlite3';
import type { Pool, PoolStore } from '../auth/pool-store.ts';
import type { PoolId } from '../schema/pool-id.ts';

interface GuestRow {
  readonly vmid: number;
  readonly poolid: PoolId;
}

interface StorageRow {
  readonly storage: string;
  readonly poolid: PoolId;
}

/** `changed` is called after each change of members: rights follow from them. */
export function poolTable(db: Database, changed: () => void): PoolStore {
  const pools = db.prepare<[], Pick<Pool, 'poolid' | 'comment'>>('SELECT poolid, comment FROM pools ORDER BY poolid');
  const guests = db.prepare<[], GuestRow>('SELECT vmid, poolid FROM pool_guests ORDER BY vmid');
  const storages = db.prepare<[], StorageRow>('SELECT storage, poolid FROM pool_storages ORDER BY storage');
  const one = db.prepare<[string], string>('SELECT comment FROM pools WHERE poolid = ?').pluck();
  const guestsOf = db.prepare<[string], number>('SELECT vmid FROM pool_guests WHERE poolid = ? ORDER BY vmid').pluck();
  const storagesOf = db
    .prepare<[string], string>('SELECT storage FROM pool_storages WHERE poolid = ? ORDER BY storage')
    .pluck();
  const poolOf = db.prepare<[number], PoolId>('SELECT poolid FROM pool_guests WHERE vmid = ?').pluck();
  const count = db
    .prepare<[], number>('SELECT (SELECT count(*) FROM pool_guests) + (SELECT count(*) FROM pool_storages)')
    .pluck();
  const insert = db.prepare<[string, string]>('INSERT INTO pools (poolid, comment) VALUES (?, ?)');
  const setComment = db.prepare<[string, string]>('UPDATE pools SET comment = ? WHERE poolid = ?');
  const remove = db.prepare<[string]>('DELETE FROM pools WHERE poolid = ?');
  const putGuest = db.prepare<[number, string]>(
    'INSERT INTO pool_guests (vmid, poolid) VALUES (?, ?) ON CONFLICT DO UPDATE SET poolid = excluded.poolid',
  );
  const takeGuest = db.prepare<[number]>('DELETE FROM pool_guests WHERE vmid = ?');
  const putStorage = db.prepare<[string, string]>('INSERT INTO pool_storages (poolid, storage) VALUES (?, ?)');
  const takeStorage = db.prepare<[string, string]>('DELETE FROM pool_storages WHERE poolid = ? AND storage = ?');
  const jobsOf = db
    .prepare<[string], string>(
      "SELECT kind || '/' || id FROM jobs WHERE json_extract(options, '$.pool') = ? ORDER BY kind, id",
    )
    .pluck();
  return {
    list() {
      const vms = grouped(guests.all(), ({ vmid }) => vmid);
      const named = grouped(storages.all(), ({ storage }) => storage);
      return pools
        .all()
        .map((pool) => ({ ...pool, vms: vms.get(pool.poolid) ?? [], storages: named.get(pool.poolid) ?? [] }));
    },
    find(poolid) {
      const comment = one.get(poolid);
      if (comment === undefined) return undefined;
      return { poolid, comment, vms: guestsOf.all(poolid), storages: storagesOf.all(poolid) };
    },
    poolOf: (vmid) => poolOf.get(vmid),
    memberCount: () => count.get() as number,
    insert: (poolid, comment) => void insert.run(poolid, comment),
    setComment: (poolid, comment) => void setComment.run(comment, poolid),
    delete(poolid) {
      remove.run(poolid);
      changed();
    },
    putGuest(poolid, vmid) {
      putGuest.run(vmid, poolid);
      changed();
    },
    takeGuest(vmid) {
      takeGuest.run(vmid);
      changed();
    },
    putStorage(poolid, storage) {
      putStorage.run(poolid, storage);
      changed();
    },
    takeStorage(poolid, storage) {
      takeStorage.run(poolid, storage);
      changed();
    },
    jobsOf: (poolid) => jobsOf.all(poolid),
  };
}

/** Path of each guest and storage that is in a pool -> paths of its pools. */
export function pooledPaths(db: Database): () => ReadonlyMap<string, readonly string[]> {
  const members = db.prepare<[], { path: string; pool: string }>(
    `SELECT '/vms/' || vmid AS path, '/pool/' || poolid AS pool FROM pool_guests
     UNION ALL SELECT '/storage/' || storage, '/pool/' || poolid FROM pool_storages`,
  );
  return () => {
    const found = new Map<string, string[]>();
    for (const { path, pool } of members.iterate()) {
      const pools = found.get(path);
      if (pools === undefined) found.set(path, [pool]);
      else pools.push(pool);
    }
    return found;
  };
}

function grouped<Row extends { readonly poolid: PoolId }, Member>(
  rows: readonly Row[],
  memberOf: (row: Row) => Member,
): ReadonlyMap<PoolId, readonly Member[]> {
  const found = new Map<PoolId, Member[]>();
  for (const row of rows) {
    const members = found.get(row.poolid);
    if (members === undefined) found.set(row.poolid, [memberOf(row)]);
    else members.push(memberOf(row));
  }
  return found;
}
