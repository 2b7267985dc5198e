// What a migration makes, as text to compare with test/vectors/state-schema-N.sql. `npx tsx test/state/state-schema.ts` writes the files.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MIGRATIONS } from '../../src/state/migrations/all.ts';
import { StateDatabase } from '../../src/state/state-database.ts';

/** Name -> statement of everything in the schema after so many migrations. */
function schemaAfter(version: number): Map<string, string> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-schema-'));
  try {
    const state = StateDatabase.open(join(directory, 'state.db'), MIGRATIONS.slice(0, version));
    const rows = state.db
      .prepare<[], { name: string; sql: string }>(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
      )
      .all();
    state.close();
    return new Map(rows.map(({ name, sql }) => [name, sql]));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What the migration with this number adds, changes and removes. */
export function schemaOfMigration(version: number): string {
  const before = schemaAfter(version - 1);
  const after = schemaAfter(version);
  const made = [...after].filter(([name, sql]) => before.get(name) !== sql).map(([, sql]) => `${sql};\n`);
  const gone = [...before.keys()].filter((name) => !after.has(name)).map((name) => `-- gone: ${name}\n`);
  return [...made, ...gone].join('\n');
}

export function goldenSchema(version: number): URL {
  return new URL(`../vectors/state-schema-${version}.sql`, import.meta.url);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { version } of MIGRATIONS) writeFileSync(goldenSchema(version), schemaOfMigration(version));
}
