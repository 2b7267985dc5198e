CREATE TABLE jobs (
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      schedule TEXT,
      enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
      comment TEXT NOT NULL,
      options TEXT NOT NULL CHECK (json_valid(options)),
      retries INTEGER NOT NULL,
      retry_delay_ms INTEGER NOT NULL,
      timeout_ms INTEGER NOT NULL,
      settled_ms INTEGER NOT NULL,
      owed TEXT CHECK (owed IS NULL OR json_valid(owed)), since_ms INTEGER NOT NULL DEFAULT 0, good_ms INTEGER,
      PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;

CREATE TABLE notify_alarms (
      key TEXT PRIMARY KEY,
      raised_ms INTEGER NOT NULL,
      subject TEXT NOT NULL
    , fields TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(fields))) STRICT, WITHOUT ROWID;
