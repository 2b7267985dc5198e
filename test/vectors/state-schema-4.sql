CREATE TABLE node_enrolments (
      node TEXT PRIMARY KEY,
      userid TEXT NOT NULL REFERENCES users (userid) ON DELETE CASCADE,
      secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
      expire_ms INTEGER NOT NULL,
      created_by TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
      name TEXT PRIMARY KEY,
      auth_id TEXT NOT NULL UNIQUE,
      machine_id TEXT NOT NULL,
      enrolled_ms INTEGER NOT NULL,
      version TEXT NOT NULL,
      host_name TEXT NOT NULL,
      boot_id TEXT NOT NULL,
      address TEXT NOT NULL,
      last_contact_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
