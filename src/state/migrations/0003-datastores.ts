// The datastores that the server opens: where they are, and what is configured for them. What is in them they know themselves.

export const datastores = {
  version: 3,
  up: `
    CREATE TABLE datastores (
      name TEXT PRIMARY KEY,
      path TEXT NOT NULL UNIQUE,
      comment TEXT,
      options TEXT NOT NULL CHECK (json_valid(options))
    ) STRICT, WITHOUT ROWID;
  `,
} as const;
