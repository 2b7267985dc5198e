CREATE TABLE tasks (
      number INTEGER PRIMARY KEY,
      upid TEXT NOT NULL UNIQUE,
      node TEXT NOT NULL,
      pid INTEGER NOT NULL,
      pstart INTEGER NOT NULL,
      starttime INTEGER NOT NULL,
      type TEXT NOT NULL,
      worker_id TEXT,
      auth_id TEXT NOT NULL,
      endtime INTEGER,
      status TEXT,
      outcome TEXT CHECK (outcome IN ('ok', 'warning', 'error', 'unknown')),
      log_note TEXT,
      data TEXT,
      CHECK ((endtime IS NULL) = (status IS NULL) AND (endtime IS NULL) = (outcome IS NULL))
    ) STRICT;

CREATE INDEX tasks_by_end ON tasks (endtime);

CREATE INDEX tasks_by_start ON tasks (starttime);
