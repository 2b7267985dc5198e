// Pools, the guests in them (each in one at most) and the storages in them.

export const pools = {
  version: 7,
  up: `
    CREATE TABLE pools (
      poolid TEXT PRIMARY KEY,
      comment TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE pool_guests (
      vmid INTEGER PRIMARY KEY,
      poolid TEXT NOT NULL REFERENCES pools (poolid) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX pool_guests_by_pool ON pool_guests (poolid);
    CREATE TABLE pool_storages (
      poolid TEXT NOT NULL REFERENCES pools (poolid) ON DELETE CASCADE,
      storage TEXT NOT NULL,
      PRIMARY KEY (poolid, storage)
    ) STRICT, WITHOUT ROWID;
  `,
} as const;
