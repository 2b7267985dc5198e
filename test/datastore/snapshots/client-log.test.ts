// The log beside a manifest: text and blobs of Proxmox's clients, once, and gone with its snapshot.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import { Compressor, compressBound } from '../../../src/chunker/zstd.ts';
import { asBlob, MAX_CLIENT_LOG_BYTES, textOfBlob } from '../../../src/datastore/snapshots/client-log.ts';
import type { HoldfastError } from '../../../src/util/errors.ts';
import { commitImage, createTemporaryStore, OpenStore } from '../../support/store.ts';

const code = (wanted: string) => (error: HoldfastError) => error.code === wanted;

/** As docs of the blob format have it: magic, checksum, and of an encrypted one 32 bytes more before the data. */
function blob(magic: string, data: Buffer, between = Buffer.alloc(0)): Buffer {
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(data));
  return Buffer.concat([Buffer.from(magic, 'hex'), checksum, between, data]);
}

function compressed(text: Buffer): Buffer {
  const frame = Buffer.alloc(compressBound(text.length));
  return frame.subarray(0, new Compressor(3).compress(frame, text));
}

const TEXT = Buffer.from('starting backup\nTASK OK\n');

test('text is wrapped, blobs stay as they came, and all that the server can read reads back', () => {
  for (const log of [
    TEXT,
    Buffer.alloc(0),
    Buffer.from('42ab38'),
    blob('42ab3807be8370a1', TEXT),
    blob('31b958426fb6a37f', compressed(TEXT)),
  ]) {
    const stored = asBlob(log);
    const isBlob = log.length > 12 && /^(42ab3807|31b95842)/.test(log.toString('hex'));
    assert.equal(stored.equals(log), isBlob);
    assert.ok(textOfBlob(stored).equals(isBlob ? TEXT : log));
  }
  const encrypted = blob('7b6785be222d4cf0', Buffer.from('secret'), Buffer.alloc(32, 1));
  assert.ok(asBlob(encrypted).equals(encrypted));
  assert.throws(() => textOfBlob(encrypted), code('key-missing'));
});

test('a damaged blob and a log that is too long are refused, also when only its content is', () => {
  const whole = blob('42ab3807be8370a1', TEXT);
  const flipped = Buffer.from(whole);
  flipped.writeUInt8(flipped.readUInt8(20) ^ 1, 20);
  assert.throws(() => asBlob(flipped), code('bad-argument'));
  assert.throws(() => textOfBlob(flipped), code('object-damaged'));
  assert.throws(() => asBlob(blob('7b6785be222d4cf0', Buffer.alloc(3))), code('bad-argument'));
  assert.throws(() => asBlob(blob('31b958426fb6a37f', TEXT)), code('bad-argument'));
  assert.throws(() => asBlob(Buffer.alloc(MAX_CLIENT_LOG_BYTES)), code('too-large'));
  asBlob(Buffer.alloc(MAX_CLIENT_LOG_BYTES - 12));
  const bomb = blob('31b958426fb6a37f', compressed(Buffer.alloc(MAX_CLIENT_LOG_BYTES + 1)));
  assert.ok(bomb.length < 1000);
  assert.throws(() => asBlob(bomb), code('bad-argument'));
});

test('a snapshot has one log, which goes with it and leaves nothing behind', async (t) => {
  const { root, remove } = await createTemporaryStore();
  t.after(remove);
  const open = await OpenStore.open(root, 1);
  t.after(() => open.close());
  const { store } = open;
  const { name } = await commitImage(open, ['content']);
  const path = store.groups.clientLogPath(name);
  const group = dirname(dirname(path));
  await store.keeping.addClientLog(name, asBlob(TEXT));
  assert.ok(textOfBlob(await readFile(path)).equals(TEXT));
  await assert.rejects(() => store.keeping.addClientLog(name, asBlob(Buffer.from('other'))), code('exists'));
  assert.ok(textOfBlob(await readFile(path)).equals(TEXT));
  await assert.rejects(() => store.keeping.addClientLog({ ...name, time: name.time + 1 }, TEXT), code('not-found'));
  await store.forget(name);
  assert.deepEqual(
    readdirSync(group).filter((each) => each !== 'group.json'),
    [],
  );
});

test('what a crash left of a forgotten snapshot with its log goes with the next backup', async (t) => {
  const { root, remove } = await createTemporaryStore();
  t.after(remove);
  const open = await OpenStore.open(root, 1);
  t.after(() => open.close());
  const { name } = await commitImage(open, ['content']);
  await open.store.keeping.addClientLog(name, asBlob(TEXT));
  const directory = dirname(open.store.groups.clientLogPath(name));
  await open.store.forget(name);
  // As it is when the process dies right behind the removal of the manifest.
  mkdirSync(directory);
  writeFileSync(`${directory}/client.log.blob`, 'log');
  writeFileSync(`${directory}/client.log.blob.tmp`, 'log');
  assert.deepEqual(await open.store.groups.times(name.ns, name.group), []);
  await commitImage(open, ['more']);
  assert.equal(existsSync(directory), false);
});

test('an upload that was killed at any step can be repeated, and leaves nothing when its snapshot goes', async (t) => {
  const { root, remove } = await createTemporaryStore();
  t.after(remove);
  const open = await OpenStore.open(root, 1);
  t.after(() => open.close());
  const { store } = open;
  const log = asBlob(TEXT);
  for (const written of [0, 5, log.length, log.length + 99]) {
    const { name } = await commitImage(open, ['content']);
    const path = store.groups.clientLogPath(name);
    // What the steps before the renaming leave; of an upload of other bytes also more than comes now.
    writeFileSync(`${path}.tmp`, Buffer.concat([log, Buffer.alloc(99)]).subarray(0, written));
    assert.equal((await store.groups.manifest(name))?.digest.length, 64, 'the snapshot is as it was');
    await store.keeping.addClientLog(name, log);
    assert.deepEqual(readdirSync(dirname(path)).sort(), ['client.log.blob', 'manifest.json']);
    assert.ok((await readFile(path)).equals(log));
    writeFileSync(`${path}.tmp`, 'of a second upload');
    await store.forget(name);
    assert.equal(existsSync(dirname(path)), false);
  }
});

test('a log that comes while its snapshot is forgotten is refused or goes with it', async (t) => {
  const { root, remove } = await createTemporaryStore();
  t.after(remove);
  const open = await OpenStore.open(root, 1);
  t.after(() => open.close());
  const { store } = open;
  for (const isForgottenFirst of [true, false]) {
    const { name } = await commitImage(open, ['content']);
    const forget = () => store.forget(name);
    const add = () => store.keeping.addClientLog(name, asBlob(TEXT));
    await Promise.allSettled((isForgottenFirst ? [forget, add] : [add, forget]).map((each) => each()));
    assert.equal(existsSync(dirname(store.groups.clientLogPath(name))), false);
  }
});

test('what a crash left of a forgotten snapshot with its log goes also when its group is given up', async (t) => {
  const { root, remove } = await createTemporaryStore();
  t.after(remove);
  const open = await OpenStore.open(root, 1);
  t.after(() => open.close());
  const { name } = await commitImage(open, ['content']);
  await open.store.forget(name);
  const path = open.store.groups.clientLogPath(name);
  mkdirSync(dirname(path));
  for (const left of [path, `${path}.tmp`]) writeFileSync(left, 'log');
  await open.store.keeping.releaseGroup(name.ns, name.group);
  assert.equal(existsSync(dirname(path)), false);
});
