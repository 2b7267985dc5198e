// The whole way of an encrypted backup with real disks and threads: in with a key, out with it byte for byte, by restore, by ranges of a
// served disk, as a difference and through a change map; nothing without it.
import assert from 'node:assert/strict';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { afterEach, beforeEach, test } from 'node:test';
import type { ChangeMap } from '../../src/agent/backup/change-map.ts';
import { type BackupResult, runBackup } from '../../src/agent/backup/run-backup.ts';
import { runRestore } from '../../src/agent/restore/run-restore.ts';
import { PUBLIC_CUT_SEED } from '../../src/chunker/cut-parameters.ts';
import { type DataKey, deriveDataKey } from '../../src/chunker/data-key.ts';
import { diffArchives, type Extent } from '../../src/datastore/accounting/extent-diff.ts';
import { ReadDatastore } from '../../src/datastore/read-datastore.ts';
import type { Manifest } from '../../src/schema/manifest.ts';
import { formatTime, parseGroup, parseNamespace } from '../../src/schema/names.ts';
import { WorkerPool } from '../../src/util/worker-pool.ts';
import { pattern } from '../agent/nbd/servers.ts';
import { createTemporaryStore, NO_SIGNAL, OpenStore, OWNER } from '../support/store.ts';

const MIB = 1024 * 1024;
const WORKER = new URL('../../dist/worker.js', import.meta.url);
const KEY = deriveDataKey(Buffer.alloc(32, 1));
const OTHER_KEY = deriveDataKey(Buffer.alloc(32, 2));

let root: string;
let remove: () => Promise<void>;
let open: OpenStore;
let directory: string;
let disk: string;

beforeEach(async () => {
  ({ root, remove } = await createTemporaryStore());
  open = await OpenStore.open(root);
  directory = mkdtempSync(join(tmpdir(), 'holdfast-encrypted-'));
  disk = join(directory, 'disk0.img');
  // Data that compresses and data that does not, a hole, and an odd end.
  writeFileSync(disk, Buffer.concat([pattern(5 * MIB, 1), Buffer.alloc(2 * MIB, 'text that packs well. ')]));
  truncateSync(disk, 40 * MIB + 512);
  write(20 * MIB, pattern(3 * MIB, 2));
});

afterEach(async () => {
  await open.crash();
  await remove();
  rmSync(directory, { recursive: true });
});

function write(offset: number, bytes: Uint8Array): void {
  const fd = openSync(disk, 'r+');
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

const warnings: string[] = [];

async function backup(
  key: DataKey | undefined,
  more: { changeMap?: ChangeMap; group?: string; stdin?: Buffer } = {},
): Promise<BackupResult> {
  const group = more.group ?? 'vm/101';
  const config = join(directory, 'qemu.conf');
  writeFileSync(config, 'cores: 4\n');
  const request = {
    group,
    archives: [
      { name: 'disk0.img', kind: 'image' as const, path: more.stdin === undefined ? disk : '-' },
      { name: 'qemu.conf', kind: 'blob' as const, path: config },
    ],
    changeMap: more.changeMap,
    time: undefined,
    averageBytes: 65536,
    key,
    stdin: Readable.from(more.stdin === undefined ? [] : [more.stdin]),
    signal: NO_SIGNAL,
    onProgress: () => {},
    warn: (message: string) => void warnings.push(message),
  };
  return await runBackup(request, open.pool, () =>
    open.store.openSession({
      ns: parseNamespace(''),
      group: parseGroup(group),
      owner: OWNER,
      compressionLevel: 1,
      key,
    }),
  );
}

/** Restores an archive in threads of its own, beside the holder. */
async function restore(manifest: Manifest, name: string, key: DataKey | undefined): Promise<Buffer> {
  const store = await ReadDatastore.open(root);
  const pool = WorkerPool.start(WORKER, 2, () => {});
  const parts: Buffer[] = [];
  const stdout = new Writable({
    write: (chunk: Buffer, _, done) => {
      parts.push(Buffer.from(chunk));
      done();
    },
  });
  try {
    const objects = store.objects(1e9);
    if (key !== undefined) objects.unlock(manifest.server.space, key);
    await objects.join(pool);
    const archive = manifest.client.archives.find((each) => each.name === name)!;
    const request = {
      archive,
      space: manifest.server.space,
      target: '-',
      overwrite: false,
      zeroLost: false,
      stdout,
      signal: NO_SIGNAL,
      onProgress: () => {},
    };
    await runRestore(request, pool, (space, id) => pool.call(0, 'store.read', { space, id }));
    return Buffer.concat(parts);
  } finally {
    await pool.close();
    store.close();
  }
}

test('an image, a blob and a stream come back byte for byte, and the manifest keeps the seed to itself', async () => {
  const content = readFileSync(disk);
  const { committed } = await backup(KEY);
  const { manifest } = committed;
  assert.equal(manifest.client.key, KEY.fingerprint);
  assert.deepEqual(Object.keys(manifest.client.archives[0]!.chunker!).sort(), [
    'algorithm',
    'averageBytes',
    'maxBytes',
    'minBytes',
  ]);
  assert.ok((await restore(manifest, 'disk0.img', KEY)).equals(content));
  assert.equal((await restore(manifest, 'qemu.conf', KEY)).toString(), 'cores: 4\n');
  const streamed = (await backup(KEY, { group: 'vm/102', stdin: content.subarray(0, 12 * MIB) })).committed.manifest;
  assert.equal(streamed.client.archives[0]!.chunker!.cutSeed, undefined);
  assert.ok((await restore(streamed, 'disk0.img', KEY)).equals(content.subarray(0, 12 * MIB)));
});

test('without the key, or with another one, nothing comes back', async () => {
  const { manifest } = (await backup(KEY)).committed;
  for (const name of ['disk0.img', 'qemu.conf']) {
    await assert.rejects(restore(manifest, name, undefined), { code: 'key-missing' });
    await assert.rejects(restore(manifest, name, OTHER_KEY), { code: 'object-damaged' });
  }
});

test('cuts follow the key: plain ones and those of another key differ, and nothing is shared', async () => {
  const manifests = [];
  for (const [place, key] of [undefined, KEY, OTHER_KEY].entries()) {
    const { committed, statistics } = await backup(key, { group: `vm/${place + 1}` });
    assert.ok(statistics.bytesNew >= 8 * MIB, `${statistics.bytesNew} bytes are new`);
    manifests.push(committed.manifest);
  }
  assert.equal(manifests[0]!.client.archives[0]!.chunker!.cutSeed, PUBLIC_CUT_SEED);
  const again = await backup(KEY, { group: 'vm/9' });
  assert.deepEqual(
    [again.statistics.objectsNew, again.statistics.bytesNew],
    [0, 0],
    'and everything with the same key',
  );
  const cutsOf = async (manifest: Manifest, key: DataKey | undefined): Promise<string> => {
    const store = await ReadDatastore.open(root);
    const objects = store.objects(1e9);
    if (key !== undefined) objects.unlock(manifest.server.space, key);
    const list = objects.source.get(
      manifest.server.space,
      Buffer.from(manifest.client.archives[0]!.root, 'hex') as never,
    );
    const page = objects.source.get(manifest.server.space, Buffer.from(list.refs.subarray(0, 32)) as never);
    store.close();
    return Buffer.from(page.payload).toString('hex');
  };
  const cuts = await Promise.all(
    manifests.map((manifest, place) => cutsOf(manifest, [undefined, KEY, OTHER_KEY][place])),
  );
  assert.equal(new Set(cuts).size, 3);
});

test('a change map builds on a snapshot of the same key, and reads in full after one of another', async () => {
  const first = (await backup(KEY)).committed;
  write(21 * MIB, Buffer.from('changed'));
  const base = `vm/101/${formatTime(first.name.time)}`;
  const changeMap: ChangeMap = { base, disks: new Map([['disk0.img', [{ offset: 21 * MIB, length: 7 }]]]) };
  warnings.length = 0;
  const second = await backup(KEY, { changeMap });
  assert.deepEqual(warnings, []);
  assert.ok(second.statistics.bytesRead < MIB, `${second.statistics.bytesRead} bytes were read`);
  assert.ok((await restore(second.committed.manifest, 'disk0.img', KEY)).equals(readFileSync(disk)));
  const rekeyed = await backup(OTHER_KEY, { changeMap });
  assert.match(warnings.join(), /is not one of the group's newest two snapshots/);
  assert.ok((await restore(rekeyed.committed.manifest, 'disk0.img', OTHER_KEY)).equals(readFileSync(disk)));

  const store = await ReadDatastore.open(root);
  const objects = store.objects(1e9);
  const { space } = first.manifest.server;
  objects.unlock(space, KEY);
  const [before, after] = [first, second.committed].map(({ manifest }) => manifest.client.archives[0]!) as [
    never,
    never,
  ];
  const extents: Extent[] = [];
  for await (const each of diffArchives(before, after, (id) => objects.source.get(space, id))) extents.push(each);
  store.close();
  const [extent] = extents;
  assert.equal(extents.length, 1);
  assert.ok(extent!.offset <= 21 * MIB && extent!.offset + extent!.length >= 21 * MIB + 7 && extent!.length <= MIB);
});
