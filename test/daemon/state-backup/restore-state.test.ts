// Restores of a server's state from parts that are damaged, missing or of somebody else: each is refused, and leaves nothing behind.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import { accessServices } from '../../../src/auth/access-services.ts';
import { ensureSelfSigned } from '../../../src/daemon/certificate.ts';
import { gatherState } from '../../../src/daemon/state-backup/gather-state.ts';
import { restoreState, type StateSource } from '../../../src/daemon/state-backup/restore-state.ts';
import { STATE_ARCHIVES } from '../../../src/daemon/state-backup/state-snapshot.ts';
import type { Archive } from '../../../src/schema/manifest.ts';
import { authTables } from '../../../src/state/auth-tables.ts';
import { NotifyQueueTable } from '../../../src/state/notify-queue-table.ts';
import { StateDatabase } from '../../../src/state/state-database.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';
import { event } from '../../notify/fixture.ts';

const PARTS = Object.values(STATE_ARCHIVES);

/** A snapshot's parts in a directory, and restores of it into another one. */
async function fixture(t: TestContext) {
  const directory = temporaryDirectory(t);
  const state = StateDatabase.open(join(directory, 'state', 'state.db'));
  t.after(() => state.close());
  await accessServices(authTables(state), Date.now, {
    hash: async () => 'hash',
    verify: async () => false,
  }).createRoot();
  const paths = { certificate: join(directory, 'server.crt'), key: join(directory, 'server.key') };
  const certificate = await ensureSelfSigned(paths, ['vm'], Date.now());
  const about = {
    format: 1 as const,
    node: 'vm',
    created: '2026-11-21T00:00:00Z',
    stateDirectory: '/var/lib/holdfast',
    configFile: join(directory, 'server.json'),
  };
  writeFileSync(about.configFile, '{}');
  const parts = join(directory, 'parts');
  await gatherState(parts, { state, certificate, about }, new AbortController().signal);
  const source: StateSource = {
    get archives() {
      return readdirSync(parts).map((name) => ({ name }) as Archive);
    },
    restore: async ({ name }, target) => copyFileSync(join(parts, name), target),
  };
  const target = join(directory, 'restored');
  return {
    part: (name: string) => join(parts, name),
    certificate,
    target,
    other: join(directory, 'other'),
    restore: () => restoreState(source, target),
  };
}

test('whole parts are restored', async (t) => {
  const { certificate, target, restore } = await fixture(t);
  const { users, fingerprint } = await restore();
  assert.deepEqual([users, fingerprint], [1, certificate.fingerprint]);
  assert.deepEqual(readdirSync(target).sort(), ['restored-config.json', 'server.crt', 'server.key', 'state.db']);
});

test('what an older version left to be sent is not sent a second time', async (t) => {
  const { part, target, restore } = await fixture(t);
  const add = (db: Database.Database) => new NotifyQueueTable(db).add(event(), 'id', ['mail'], 1);
  const copy = new Database(part(STATE_ARCHIVES.database));
  add(copy);
  copy.close();
  await restore();
  const state = StateDatabase.open(join(target, 'state.db'));
  t.after(() => state.close());
  assert.deepEqual(new NotifyQueueTable(state.db).list(1), []);
});

test('what is damaged, missing or of another server is refused by name, and nothing stays', async (t) => {
  const { part, target, other, restore } = await fixture(t);
  mkdirSync(other);
  const others = { certificate: join(other, 'c'), key: join(other, 'k') };
  await ensureSelfSigned(others, ['other'], Date.now());
  const database = part(STATE_ARCHIVES.database);
  const flipPages = (): void => {
    const bytes = readFileSync(database);
    writeFileSync(database, bytes.fill(0xa5, 4096));
  };
  const changeVersion = (): void => {
    const db = new Database(database);
    db.pragma('user_version = 99');
    db.close();
  };
  const cases: readonly [what: string, damage: () => void, code: string][] = [
    ['an empty database', () => truncateSync(database, 0), 'datastore-damaged'],
    ['a database cut in two', () => truncateSync(database, 4096 * 3), 'datastore-damaged'],
    ['a database of garbage', () => writeFileSync(database, 'no database '.repeat(1000)), 'datastore-damaged'],
    ['a database with bad pages', flipPages, 'datastore-damaged'],
    ['a newer database', changeVersion, 'datastore-newer'],
    ['no certificate', () => writeFileSync(part(STATE_ARCHIVES.certificate), 'x'), 'bad-argument'],
    ['an empty key', () => truncateSync(part(STATE_ARCHIVES.key), 0), 'bad-argument'],
    ["another server's key", () => copyFileSync(others.key, part(STATE_ARCHIVES.key)), 'bad-argument'],
    ['no JSON', () => truncateSync(part(STATE_ARCHIVES.about), 20), 'datastore-damaged'],
    ['another shape', () => writeFileSync(part(STATE_ARCHIVES.about), '{"format":1}'), 'datastore-damaged'],
  ];
  for (const [what, damage, code] of cases) {
    const good = PARTS.map((name) => [name, readFileSync(part(name))] as const);
    damage();
    await assert.rejects(restore(), { code }, what);
    assert.ok(!existsSync(target), what);
    for (const [name, bytes] of good) writeFileSync(part(name), bytes);
  }
  await restore();
});
