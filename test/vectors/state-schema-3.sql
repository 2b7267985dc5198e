CREATE TABLE datastores (
      name TEXT PRIMARY KEY,
      path TEXT NOT NULL UNIQUE,
      comment TEXT,
      options TEXT NOT NULL CHECK (json_valid(options))
    ) STRICT, WITHOUT ROWID;
