import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { AVERAGE_CHUNK_BYTES, createDatastore, describeRootError, readConfig } from '../../src/datastore/config.ts';
import { Layout } from '../../src/datastore/layout.ts';
import { HoldfastError } from '../../src/util/errors.ts';
import { skipSmallDisk, withSmallDisk } from '../support/small-disk.ts';
import { Store, temporaryDirectory } from './fixture.ts';

test('a new datastore has everything that docs/format.md lists, and reads back', async (t) => {
  const root = join(temporaryDirectory(t), 'a', 'store');
  const config = await createDatastore(root, AVERAGE_CHUNK_BYTES[1]);
  assert.deepEqual(readdirSync(root).sort(), [
    'condemned',
    'datastore.json',
    'index',
    'lock.db',
    'packs',
    'readers.db',
    'sessions',
    'snapshots',
  ]);
  assert.deepEqual(await readConfig(new Layout(root), true), config);
  assert.equal(config.format, 1);
  assert.match(config.store, /^[0-9a-f]{32}$/);
  assert.deepEqual(config.features, { compatible: [], readOnlyCompatible: [], incompatible: [] });
  assert.deepEqual(config.chunk, { averageBytes: 256 * 1024 });
  assert.deepEqual(config.retentionLock, { maxMs: 365 * 24 * 3600 * 1000 });
  const other = await createDatastore(join(root, '..', 'second'), AVERAGE_CHUNK_BYTES[0]);
  assert.notEqual(other.store, config.store);
});

test('only an empty directory becomes a datastore, but for what mkfs leaves', async (t) => {
  const root = temporaryDirectory(t);
  mkdirSync(join(root, 'lost+found'));
  await createDatastore(root, 65536);
  await assert.rejects(createDatastore(root, 65536), { code: 'exists' });
  const used = temporaryDirectory(t);
  writeFileSync(join(used, 'photo.jpg'), 'mine');
  await assert.rejects(createDatastore(used, 65536), { code: 'exists', message: /not empty/ });
  assert.deepEqual(readdirSync(used), ['photo.jpg']);
});

test('a file in the way is said, as the directory and below it', async (t) => {
  const file = join(temporaryDirectory(t), 'file');
  writeFileSync(file, '');
  for (const root of [file, join(file, 'store')]) {
    await assert.rejects(createDatastore(root, 65536), { code: 'datastore-foreign', message: /not a directory/ });
    await assert.rejects(readConfig(new Layout(root), false), { code: 'datastore-foreign' });
  }
});

test('what is no datastore is refused with what to do', async (t) => {
  const root = temporaryDirectory(t);
  const layout = new Layout(root);
  await assert.rejects(readConfig(layout, false), { code: 'datastore-foreign', message: /datastore create/ });
  for (const text of ['', 'x', '[]', '{"format":1}', '{"format":1,"store":"zz"}']) {
    writeFileSync(layout.config, text);
    await assert.rejects(readConfig(layout, false), {
      code: 'datastore-foreign',
      message: /put the original file back/,
    });
  }
});

test('formats and features of later versions decide who may open', async (t) => {
  const { layout } = await Store.create(t);
  const original = JSON.parse(readFileSync(layout.config, 'utf8')) as Record<string, unknown>;
  const set = (change: Record<string, unknown>, features: Record<string, string[]> = {}) => {
    const all = { compatible: [], readOnlyCompatible: [], incompatible: [], ...features };
    writeFileSync(layout.config, JSON.stringify({ ...original, features: all, ...change }));
  };
  set({}, { compatible: ['anything'] });
  assert.deepEqual((await readConfig(layout, true)).features.compatible, ['anything']);
  set({}, { incompatible: ['draft-1'] });
  await readConfig(layout, true);
  set({ later: 'member' });
  await readConfig(layout, true);
  set({}, { incompatible: ['draft-1', 'gzip'] });
  for (const writing of [true, false])
    await assert.rejects(readConfig(layout, writing), { code: 'datastore-newer', message: /gzip/ });
  set({ format: 2 });
  await assert.rejects(readConfig(layout, false), { code: 'datastore-newer', message: /format 2/ });
  set({}, { readOnlyCompatible: ['new-index'] });
  await readConfig(layout, false);
  await assert.rejects(readConfig(layout, true), { code: 'datastore-newer', message: /only read.*new-index/ });
});

test('a full or read-only disk is said, leaves no datastore behind, and the next attempt succeeds', {
  skip: skipSmallDisk(),
}, async () => {
  await withSmallDisk(4 << 20, async (disk) => {
    const root = join(disk.mountPath, 'store');
    for (const leaveBytes of [0, 8192]) {
      disk.fill(leaveBytes);
      await assert.rejects(createDatastore(root, 65536), { code: 'disk-full' }, `${leaveBytes} bytes free`);
      assert.ok(!existsSync(new Layout(root).config));
      disk.release();
    }
    await createDatastore(root, 65536);
  });
  await withSmallDisk(4 << 20, async (disk) => {
    disk.remountReadOnly();
    await assert.rejects(createDatastore(join(disk.mountPath, 'store'), 65536), { code: 'datastore-read-only' });
  });
});

test('system errors become what a user can act on; all others stay as they are', () => {
  const expected = {
    EROFS: 'datastore-read-only',
    EACCES: 'datastore-read-only',
    EPERM: 'datastore-read-only',
    ENOTDIR: 'datastore-foreign',
    ENOSPC: 'disk-full',
    EDQUOT: 'disk-full',
    SQLITE_FULL: 'disk-full',
    SQLITE_IOERR_FSYNC: 'write-failed',
    EIO: 'write-failed',
    EMFILE: 'write-failed',
    ENOENT: 'ENOENT',
    SQLITE_MISUSE: 'SQLITE_MISUSE',
  };
  for (const [code, becomes] of Object.entries(expected)) {
    const cause = Object.assign(new Error('x'), { code });
    const error = describeRootError('/store', cause) as { code: string; cause?: unknown };
    assert.equal(error.code, becomes);
    if (code !== becomes) assert.equal(error.cause, cause);
  }
  const ours = new HoldfastError('exists', 'there');
  assert.equal(describeRootError('/store', ours), ours);
});
