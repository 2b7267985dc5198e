import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Storages } from '../../../src/guests/storage/storages.ts';

let directory: string;
let storages: Storages;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hf-storages-'));
  storages = new Storages(directory, { nodeName: 'here' });
});
afterEach(() => rmSync(directory, { recursive: true }));

const configure = (text: string) => writeFileSync(join(directory, 'storage.cfg'), text.replaceAll('DIR', directory));

test('the first storage is there without a file', async () => {
  const [local, ...others] = await storages.all();
  assert.deepEqual(others, []);
  assert.equal(local?.reason, undefined);
  assert.deepEqual(local?.content, ['images', 'iso', 'snippets', 'backup', 'import', 'vztmpl']);
  const status = await (await storages.get('local')).status();
  assert.ok(status.active && status.total > 0);
  assert.ok(existsSync(join(directory, 'storage/local')));
});

test('a volume is found by its id', async () => {
  const { storage, name } = await storages.resolve('local:100/vm-100-disk-0.raw');
  assert.equal(storage.id, 'local');
  assert.equal(name, '100/vm-100-disk-0.raw');
  await assert.rejects(storages.volume('local:100/vm-100-disk-0.raw'), { code: 'not-found' });
  const volume = await storage.allocate({ vmid: 100, sizeBytes: 1 << 20, format: 'raw' });
  const { path, format, id } = await storages.volume(volume.id);
  assert.deepEqual([path, format, id], [join(directory, 'storage/local/images', name), 'raw', volume.id]);
  for (const bad of ['local', ':x', '/dev/sda', 'local:../x', 'local:/etc/passwd', 'lo/cal:x'])
    await assert.rejects(storages.volume(bad), { code: 'bad-name' }, bad);
  await assert.rejects(storages.volume('none:100/vm-100-disk-0.raw'), {
    code: 'not-found',
    message: "storage 'none' does not exist",
  });
});

test('what this node cannot use is listed with the reason', async () => {
  configure(`dir: usable
\tpath DIR/usable
\tnodes there,here
\tfuture 1

zfspool: tank
\tpool tank

dir: off
\tpath DIR/off
\tdisable

dir: elsewhere
\tpath DIR/elsewhere
\tnodes there

dir: relative
\tpath storage/x

dir: dotted
\tpath DIR/../x

dir: chained
\tpath DIR/x
\tsnapshot-as-volume-chain 1
`);
  const listed = await storages.all();
  assert.deepEqual(
    listed.map(({ id, storage, reason }) => [
      id,
      storage?.id,
      /disabled|nodes there|type zfspool|path "|chain/.exec(reason ?? '')?.[0],
    ]),
    [
      ['usable', 'usable', undefined],
      ['tank', undefined, 'type zfspool'],
      ['off', undefined, 'disabled'],
      ['elsewhere', undefined, 'nodes there'],
      ['relative', undefined, 'path "'],
      ['dotted', undefined, 'path "'],
      ['chained', undefined, 'chain'],
    ],
  );
  assert.deepEqual(listed[0]?.content, ['images', 'rootdir']);
  await assert.rejects(storages.get('tank'), { code: 'target-unfit', message: /its type zfspool is not supported/ });
});

test('a storage that is not mounted, or not to be made, is never written to', async () => {
  configure(`dir: mount
\tpath DIR/mount
\tis_mountpoint yes

dir: above
\tpath /proc/never
\tis_mountpoint /proc
\tmkdir 0

dir: absent
\tpath DIR/absent
\tcreate-base-path 0
`);
  const request = { vmid: 100, sizeBytes: 1 << 20, format: 'raw' } as const;
  for (const [id, why] of [
    ['mount', /ENOENT/],
    ['above', /ENOENT.*\/proc\/never/],
    ['absent', /ENOENT/],
  ] as const) {
    const storage = await storages.get(id);
    const status = await storage.status();
    assert.equal(status.active, false);
    assert.match(status.reason ?? '', why);
    await assert.rejects(storage.allocate(request), { code: 'target-unfit', message: why });
    await assert.rejects(storage.list(), { code: 'target-unfit' });
  }
  configure(`dir: mount\n\tpath DIR\n\tis_mountpoint 1\n`);
  const storage = await storages.get('mount');
  assert.match((await storage.status()).reason ?? '', /nothing is mounted/);
  await assert.rejects(storage.allocate(request), { code: 'target-unfit', message: /nothing is mounted/ });
  assert.ok(!existsSync(join(directory, 'images')));
});
