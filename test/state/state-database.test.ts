import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MIGRATIONS } from '../../src/state/migrations/all.ts';
import type { Migration } from '../../src/state/migrations/migration.ts';
import { StateDatabase } from '../../src/state/state-database.ts';
import { temporaryDirectory, withCode } from '../auth/access-fixture.ts';
import { goldenSchema, schemaOfMigration } from './state-schema.ts';

const Sqlite = createRequire(import.meta.url)('better-sqlite3') as typeof import('better-sqlite3');

test('migrations are numbered without gaps, and none has drifted from what was released', () => {
  assert.deepEqual(
    MIGRATIONS.map(({ version }) => version),
    MIGRATIONS.map((_, index) => index + 1),
  );
  for (const { version } of MIGRATIONS) {
    const file = goldenSchema(version);
    assert.equal(
      schemaOfMigration(version),
      readFileSync(file, 'utf8'),
      `${file.pathname}: a released migration must not change; for a new one run npx tsx test/state/state-schema.ts`,
    );
  }
});

test('the file and its directory are for their owner alone', (t) => {
  const directory = join(temporaryDirectory(t), 'state');
  const path = join(directory, 'state.db');
  const state = StateDatabase.open(path);
  t.after(() => state.close());
  const mode = (name: string): number => statSync(name).mode & 0o777;
  assert.equal(mode(directory), 0o700);
  for (const end of ['', '-wal', '-shm']) assert.equal(mode(path + end), 0o600, end);
  state.close();
  chmodSync(path, 0o644);
  StateDatabase.open(path).close();
  assert.equal(mode(path), 0o600);
});

test('changes are durable in WAL, references are kept, and what was deleted is overwritten', (t) => {
  const path = join(temporaryDirectory(t), 'state.db');
  const state = StateDatabase.open(path);
  t.after(() => state.close());
  const pragma = (name: string): unknown => state.db.pragma(name, { simple: true });
  assert.deepEqual(['journal_mode', 'synchronous', 'foreign_keys', 'secure_delete', 'user_version'].map(pragma), [
    'wal',
    2,
    1,
    1,
    MIGRATIONS.length,
  ]);
  assert.throws(() => state.db.exec("INSERT INTO tokens VALUES ('x', 'y', zeroblob(32), 1, 0, '')"), /FOREIGN KEY/);
});

test('a later step is done once, and what was there stays', (t) => {
  const path = join(temporaryDirectory(t), 'state.db');
  const first: Migration = { version: 1, up: 'CREATE TABLE a (x INTEGER) STRICT;' };
  const second: Migration = { version: 2, up: 'ALTER TABLE a ADD COLUMN y INTEGER; UPDATE a SET y = x + 1;' };
  const old = StateDatabase.open(path, [first]);
  old.db.exec('INSERT INTO a VALUES (41)');
  old.close();
  for (let round = 0; round < 2; round++) {
    const state = StateDatabase.open(path, [first, second]);
    assert.deepEqual(state.db.prepare('SELECT x, y FROM a').all(), [{ x: 41, y: 42 }]);
    state.close();
  }
});

test('a step that fails leaves everything as it was', (t) => {
  const path = join(temporaryDirectory(t), 'state.db');
  const first: Migration = { version: 1, up: 'CREATE TABLE a (x INTEGER) STRICT;' };
  StateDatabase.open(path, [first]).close();
  const bad: Migration = { version: 2, up: 'CREATE TABLE b (x INTEGER) STRICT; CREATE TABLE a (x INTEGER) STRICT;' };
  assert.throws(() => StateDatabase.open(path, [first, bad]), /already exists/);
  const state = StateDatabase.open(path, [first]);
  t.after(() => state.close());
  assert.deepEqual(state.db.prepare('SELECT name FROM sqlite_schema').pluck().all(), ['a']);
});

test('a newer database is refused, and not touched', (t) => {
  const path = join(temporaryDirectory(t), 'state.db');
  const newer = [...MIGRATIONS, { version: MIGRATIONS.length + 1, up: 'CREATE TABLE later (x INTEGER) STRICT;' }];
  StateDatabase.open(path, newer).close();
  const before = readFileSync(path);
  assert.throws(() => StateDatabase.open(path), withCode('datastore-newer', /newer Holdfast .* install/));
  assert.ok(readFileSync(path).equals(before));
});

test('what is no state database is refused, and not touched', (t) => {
  const directory = temporaryDirectory(t);
  const other = join(directory, 'other.db');
  const db = new Sqlite(other);
  db.exec('CREATE TABLE precious (x)');
  db.close();
  const before = readFileSync(other);
  assert.throws(() => StateDatabase.open(other), withCode('datastore-foreign', /not a state database/));
  assert.ok(readFileSync(other).equals(before));
  const text = join(directory, 'text.db');
  writeFileSync(text, 'this is no database. '.repeat(1000));
  assert.throws(() => StateDatabase.open(text), withCode('datastore-damaged'));
  mkdirSync(join(directory, 'folder.db'));
  assert.throws(() => StateDatabase.open(join(directory, 'folder.db')), withCode('datastore-read-only'));
});

test('work is done wholly or not at all, also within other work', (t) => {
  const state = StateDatabase.open(join(temporaryDirectory(t), 'state.db'));
  t.after(() => state.close());
  const insert = state.db.prepare<[string]>("INSERT INTO secrets VALUES (?, x'00')");
  const names = state.db.prepare('SELECT name FROM secrets').pluck();
  const work = (): void => {
    insert.run('outer');
    state.atomically(() => insert.run('inner'));
    throw new Error('stop');
  };
  assert.throws(() => state.atomically(work), /stop/);
  assert.deepEqual(names.all(), []);
  assert.equal(
    state.atomically(() => {
      insert.run('kept');
      return 7;
    }),
    7,
  );
  assert.deepEqual(names.all(), ['kept']);
});

test('processes that open a new database at once all get it, and count together', async (t) => {
  const path = join(temporaryDirectory(t), 'state', 'state.db');
  const source = new URL('../../src/state/state-database.ts', import.meta.url).href;
  const program = `
    import { StateDatabase } from ${JSON.stringify(source)};
    const state = StateDatabase.open(${JSON.stringify(path)});
    const count = state.db.prepare("SELECT comment FROM users WHERE userid = 'count'").pluck();
    const add = state.db.prepare("UPDATE users SET comment = ? WHERE userid = 'count'");
    state.db.exec("INSERT OR IGNORE INTO users (userid, enable, expire, comment, firstname, lastname, email, ticket_epoch) VALUES ('count', 1, 0, '0', '', '', '', '')");
    for (let round = 0; round < 100; round++) state.atomically(() => add.run(String(Number(count.get()) + 1)));
    state.close();`;
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const run = async (): Promise<unknown> => {
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    return (await once(child, 'exit'))[0];
  };
  assert.deepEqual(await Promise.all([run(), run(), run()]), [0, 0, 0]);
  const state = StateDatabase.open(path);
  t.after(() => state.close());
  assert.equal(state.db.prepare("SELECT comment FROM users WHERE userid = 'count'").pluck().get(), '300');
});

test('a database that another keeps for itself is reported after a while', (t) => {
  const path = join(temporaryDirectory(t), 'state.db');
  const state = StateDatabase.open(path);
  const other = StateDatabase.open(path);
  t.after(() => {
    other.db.exec('ROLLBACK');
    other.close();
    state.close();
  });
  state.db.pragma('busy_timeout = 50');
  other.db.exec('BEGIN IMMEDIATE');
  assert.throws(() => state.atomically(() => 1), withCode('timed-out', /another process/));
});
