CREATE TABLE acl (
  path TEXT NOT NULL,
  auth_id TEXT NOT NULL,
  role TEXT NOT NULL,
  propagate INTEGER NOT NULL CHECK (propagate IN (0, 1)),
  PRIMARY KEY (path, auth_id, role)
) STRICT, WITHOUT ROWID;

CREATE INDEX acl_by_auth_id ON acl (auth_id);

CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  time_ms INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('change', 'sign-in')),
  action TEXT NOT NULL,
  by TEXT NOT NULL,
  address TEXT NOT NULL,
  object TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_kind ON audit (kind, id);

CREATE INDEX audit_by_time ON audit (time_ms);

CREATE TABLE recovery_codes (
  userid TEXT NOT NULL,
  id TEXT NOT NULL,
  number INTEGER NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (userid, id, number),
  FOREIGN KEY (userid, id) REFERENCES second_factors (userid, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE second_factors (
  userid TEXT NOT NULL REFERENCES users (userid) ON DELETE CASCADE,
  id TEXT NOT NULL,
  type TEXT NOT NULL CHECK (type IN ('totp', 'recovery')),
  description TEXT NOT NULL,
  created INTEGER NOT NULL,
  enable INTEGER NOT NULL CHECK (enable IN (0, 1)),
  totp_uri TEXT,
  last_step INTEGER,
  PRIMARY KEY (userid, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
  userid TEXT NOT NULL REFERENCES users (userid) ON DELETE CASCADE,
  name TEXT NOT NULL,
  secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
  enable INTEGER NOT NULL CHECK (enable IN (0, 1)),
  expire INTEGER NOT NULL CHECK (expire >= 0),
  comment TEXT NOT NULL,
  PRIMARY KEY (userid, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
  userid TEXT PRIMARY KEY,
  enable INTEGER NOT NULL CHECK (enable IN (0, 1)),
  expire INTEGER NOT NULL CHECK (expire >= 0),
  comment TEXT NOT NULL,
  firstname TEXT NOT NULL,
  lastname TEXT NOT NULL,
  email TEXT NOT NULL,
  password_hash TEXT,
  ticket_epoch TEXT NOT NULL,
  totp_failures INTEGER NOT NULL DEFAULT 0,
  recovery_failures INTEGER NOT NULL DEFAULT 0,
  totp_locked INTEGER NOT NULL DEFAULT 0 CHECK (totp_locked IN (0, 1)),
  tfa_locked_until INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
