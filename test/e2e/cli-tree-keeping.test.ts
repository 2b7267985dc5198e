// Keeping a store of file trees, plain and under a key: what two nights share survives the end of one of them, lost contents of files stop no
// collection, lost directories do, and the next backup heals both.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type BackupJson, newPlace, type Place } from '../cli/holdfast.ts';

const FILES = 300;
/** Byte 10 of the header of a pack: its kind. */
const KIND_AT = 10;
const DATA = 1;

interface Nights extends Place {
  readonly source: string;
  readonly first: string;
  readonly second: string;
  /** Options of every command that reads or writes the trees. */
  readonly key: readonly string[];
  backup(): Promise<BackupJson>;
}

/** Two nights of a tree: most of it the same, some files new, some gone. */
async function twoNights(t: TestContext, isEncrypted: boolean): Promise<Nights> {
  const place = await newPlace(t);
  const source = place.path('source');
  for (const directory of ['same/deep', 'changing']) mkdirSync(join(source, directory), { recursive: true });
  for (let file = 0; file < FILES; file++) writeFileSync(join(source, 'same/deep', `f${file}`), randomBytes(3000));
  for (let file = 0; file < FILES; file++) writeFileSync(join(source, 'changing', `f${file}`), randomBytes(3000));
  let key: string[] = [];
  if (isEncrypted) {
    await place.run('key', 'create', place.path('key'), '--kdf', 'none');
    key = ['--keyfile', place.path('key')];
  }
  const more = isEncrypted ? ['--acknowledge-lost-key'] : [];
  const backup = async (): Promise<BackupJson> =>
    await place.json<BackupJson>('backup', '--group', 'host/a', `root.tree:${source}`, ...key, ...more);
  const first = (await backup()).snapshot;
  for (let file = 0; file < FILES; file += 2) writeFileSync(join(source, 'changing', `f${file}`), randomBytes(3000));
  for (let file = 1; file < FILES; file += 4) rmSync(join(source, 'changing', `f${file}`));
  const second = (await backup()).snapshot;
  return { ...place, source, first, second, key, backup };
}

async function requireRestores(nights: Nights, snapshot: string): Promise<void> {
  const target = nights.path('restored');
  await nights.run('restore', snapshot, 'root.tree', target, ...nights.key);
  execFileSync('diff', ['-r', '--no-dereference', nights.source, target]);
  rmSync(target, { recursive: true });
}

/** Zeros over the middle half of every pack of this kind. */
function spoil(place: Place, isData: boolean): void {
  for (const name of readdirSync(join(place.repository, 'packs'))) {
    const path = join(place.repository, 'packs', name);
    const bytes = readFileSync(path);
    if ((bytes[KIND_AT] === DATA) !== isData) continue;
    const fd = openSync(path, 'r+');
    writeSync(
      fd,
      Buffer.alloc(Math.floor(bytes.length / 2)),
      0,
      Math.floor(bytes.length / 2),
      Math.floor(bytes.length / 4),
    );
    closeSync(fd);
  }
}

for (const isEncrypted of [false, true]) {
  const name = isEncrypted ? 'encrypted: ' : '';

  test(`${name}after one night is forgotten and collected, the other is whole`, async (t) => {
    const nights = await twoNights(t, isEncrypted);
    await nights.run('snapshot', 'forget', nights.first);
    const { bytesFreed, objectsLost } = await nights.json<{ bytesFreed: number; objectsLost: number }>(
      ...['datastore', 'gc', '--audit'],
    );
    assert.equal(objectsLost, 0);
    assert.ok(bytesFreed > 0);
    const report = await nights.json<{ damaged: unknown[]; objectsMissing: number }>('datastore', 'verify');
    assert.deepEqual([report.damaged.length, report.objectsMissing], [0, 0]);
    await requireRestores(nights, nights.second);
  });

  test(`${name}lost contents stop no collection, and the next backup that reads heals them`, async (t) => {
    const nights = await twoNights(t, isEncrypted);
    spoil(nights, true);
    const found = await nights.try(['datastore', 'verify', '--output-format', 'json']);
    assert.equal(found.code, 27);
    const { damaged } = JSON.parse(found.stdout.toString()) as { damaged: { files?: { count: number } }[] };
    assert.ok(damaged.length > 0);
    if (!isEncrypted) assert.ok((damaged[0]?.files?.count ?? 0) > 0, 'damaged files are named');
    await nights.run('datastore', 'gc');
    const healing = await nights.backup();
    assert.ok(healing.bytesNew > 0);
    await requireRestores(nights, healing.snapshot);
    await requireRestores(nights, nights.second);
  });

  test(`${name}lost directories stop a collection, and the next backup heals them`, async (t) => {
    const nights = await twoNights(t, isEncrypted);
    spoil(nights, false);
    assert.equal((await nights.try(['datastore', 'verify'])).code, 27);
    await nights.fails('object-damaged', 'datastore', 'gc');
    const healing = await nights.backup();
    await requireRestores(nights, healing.snapshot);
  });
}
