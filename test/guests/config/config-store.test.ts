import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ConfigStore } from '../../../src/guests/config/config-store.ts';
import { configDigest, EMPTY_CONFIG, MAX_CONFIG_BYTES, withSettings } from '../../../src/guests/config/vm-config.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';

const ID = parseGuestId(100);
const config = (settings: Record<string, string>) => withSettings(EMPTY_CONFIG, settings);

async function openStore(t: TestContext): Promise<{ store: ConfigStore; node: string; files: string }> {
  const node = await mkdtemp(join(tmpdir(), 'config-store-'));
  t.after(() => rm(node, { recursive: true }));
  return { store: new ConfigStore(node), node, files: join(node, 'qemu-server') };
}

test('a configuration is made, read, changed and removed', async (t) => {
  const { store, files } = await openStore(t);
  assert.deepEqual(await store.list(), []);
  const { digest } = await store.create(ID, config({ name: 'web' }));
  const stored = await store.read(ID);
  assert.deepEqual(stored, {
    config: config({ name: 'web' }),
    digest: configDigest('name: web\n'),
    text: 'name: web\n',
  });
  assert.equal(stored.digest, digest);
  assert.equal((await stat(join(files, '100.conf'))).mode & 0o777, 0o640);
  assert.deepEqual(await readdir(files), ['100.conf']);

  const changed = await store.write(ID, config({ name: 'db' }), { digest });
  assert.equal(changed.digest, (await store.read(ID)).digest);
  await store.remove(ID);
  assert.deepEqual(await readdir(files), []);
});

test('a guest that is not there is said so in the words that clients know', async (t) => {
  const { store } = await openStore(t);
  const missing = { code: 'not-found', message: "Configuration file 'qemu-server/999.conf' does not exist" };
  const id = parseGuestId(999);
  await assert.rejects(store.read(id), missing);
  await assert.rejects(store.write(id, EMPTY_CONFIG), missing);
  await assert.rejects(store.remove(id), missing);
});

test('of many that make one guest one wins, whole, and nothing is left of the others', async (t) => {
  const { store, files } = await openStore(t);
  const made = await Promise.allSettled(
    Array.from({ length: 8 }, (_, index) => store.create(ID, config({ name: `n${index}`, cores: '2' }))),
  );
  assert.equal(made.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const each of made) {
    if (each.status === 'fulfilled') continue;
    assert.equal(each.reason.code, 'exists');
    assert.equal(each.reason.message, 'unable to create VM 100 - VM 100 already exists');
  }
  const winner = made.findIndex(({ status }) => status === 'fulfilled');
  assert.equal((await store.read(ID)).text, `cores: 2\nname: n${winner}\n`);
  assert.deepEqual(await readdir(files), ['100.conf']);
});

test("a container's number is taken too, and the next free one is the lowest", async (t) => {
  const { store, node } = await openStore(t);
  assert.equal(await store.nextFreeId(), 100);
  await mkdir(join(node, 'lxc'));
  await writeFile(join(node, 'lxc', '101.conf'), '');
  await assert.rejects(store.create(parseGuestId(101), EMPTY_CONFIG), {
    code: 'exists',
    message: 'unable to create VM 101 - CT 101 already exists',
  });
  for (const id of [1000, 100, 103]) await store.create(parseGuestId(id), EMPTY_CONFIG);
  assert.deepEqual(await store.list(), [100, 103, 1000]);
  assert.equal(await store.nextFreeId(), 102);
});

test('a file that somebody else changed is not written over', async (t) => {
  const { store, files } = await openStore(t);
  const { digest } = await store.create(ID, config({ name: 'a' }));
  await writeFile(join(files, '100.conf'), 'name: b\n');
  await assert.rejects(store.write(ID, config({ name: 'c' }), { digest }), {
    code: 'config-changed',
    message: 'detected modified configuration - file changed by other user? Try again.',
  });
  assert.equal(await readFile(join(files, '100.conf'), 'utf8'), 'name: b\n');
  await store.write(ID, config({ name: 'c' }));
  assert.equal((await store.read(ID)).text, 'name: c\n');
});

test('files that cannot be read say which and why; others in the directory are no guests', async (t) => {
  const { store, files } = await openStore(t);
  await mkdir(join(files, '101.conf'), { recursive: true });
  const contents: [string, string | Uint8Array][] = [
    ['100.conf', 'cores 1\n'],
    ['102.conf', Buffer.from([0x6e, 0x3a, 0x20, 0xff, 0x0a])],
    ['103.conf', 'x'.repeat(MAX_CONFIG_BYTES + 1)],
    ['099.conf', ''],
    ['100.conf.tmp', ''],
    ['.100.conf.0a', ''],
    ['notes', ''],
  ];
  for (const [name, content] of contents) await writeFile(join(files, name), content);
  assert.deepEqual(await store.list(), [100, 101, 102, 103]);
  const reasons: [number, RegExp][] = [
    [100, /qemu-server\/100\.conf, line 1 cannot be read/],
    [101, /qemu-server\/101\.conf cannot be read: EISDIR/],
    [102, /it is not UTF-8/],
    [103, /at most/],
  ];
  for (const [id, message] of reasons)
    await assert.rejects(store.read(parseGuestId(id)), { code: 'source-failed', message }, String(id));
});

test('a write that fails leaves the old file and nothing beside it', async (t) => {
  const { store, files } = await openStore(t);
  await store.create(ID, config({ name: 'a' }));
  await assert.rejects(store.write(ID, config({ name: 'b\nargs: x' })), { code: 'bad-argument' });
  await assert.rejects(store.write(ID, config({ description: 'x'.repeat(MAX_CONFIG_BYTES) })), { code: 'too-large' });
  // A directory in the way of the temporary file: root is refused nothing else.
  await mkdir(join(files, '100.conf.tmp'));
  await assert.rejects(store.write(ID, config({ name: 'b' })), {
    code: 'write-failed',
    message: /100\.conf cannot be written/,
  });
  assert.equal((await store.read(ID)).text, 'name: a\n');
  await writeFile(join(files, '..', 'lxc'), '');
  await assert.rejects(store.create(parseGuestId(101), EMPTY_CONFIG), { code: 'source-failed' });
  assert.deepEqual((await readdir(files)).sort(), ['100.conf', '100.conf.tmp']);
});
