// Notifications: where they go, which go where, what is to be sent still, and which alarms were raised. Secrets of targets have a table of their own.

export const notify = {
  version: 6,
  up: `
    CREATE TABLE notify_targets (
      name TEXT PRIMARY KEY,
      config TEXT NOT NULL CHECK (json_valid(config))
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE notify_secrets (
      target TEXT NOT NULL REFERENCES notify_targets (name) ON DELETE CASCADE,
      name TEXT NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY (target, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE notify_matchers (
      name TEXT PRIMARY KEY,
      config TEXT NOT NULL CHECK (json_valid(config))
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE notify_settings (
      name TEXT PRIMARY KEY,
      value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE notify_events (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      message_id TEXT NOT NULL,
      event TEXT NOT NULL CHECK (json_valid(event))
    ) STRICT;
    CREATE TABLE notify_deliveries (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      event_id INTEGER NOT NULL REFERENCES notify_events (id),
      target TEXT NOT NULL,
      state TEXT NOT NULL CHECK (state IN ('waiting', 'failed')),
      attempts INTEGER NOT NULL,
      added_ms INTEGER NOT NULL,
      next_ms INTEGER NOT NULL,
      remaining TEXT CHECK (json_valid(remaining)),
      error TEXT
    ) STRICT;
    CREATE INDEX notify_deliveries_due ON notify_deliveries (state, target, next_ms);
    CREATE INDEX notify_deliveries_event ON notify_deliveries (event_id);
    CREATE TABLE notify_alarms (
      key TEXT PRIMARY KEY,
      raised_ms INTEGER NOT NULL,
      subject TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
  `,
} as const;
