// Backup and restore of images and trees over the wire, with the real worker program, against a server in memory.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { type ArchiveSpec, type BackupRequest, runBackup } from '../../../src/agent/backup/run-backup.ts';
import { runRestore } from '../../../src/agent/restore/run-restore.ts';
import { runRestoreTree } from '../../../src/agent/tree/restore/restore-tree.ts';
import { deriveDataKey } from '../../../src/chunker/data-key.ts';
import type { StoredObject } from '../../../src/chunker/object.ts';
import type { Manifest } from '../../../src/schema/manifest.ts';
import type { RemoteStore } from '../../../src/transport/client/remote-store.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import type { WorkerPool } from '../../../src/util/worker-pool.ts';
import { scratch } from '../../agent/nbd/servers.ts';
import { seenTree } from '../../agent/tree/seen-tree.ts';
import { frame } from './memory-server.ts';
import { connect, startServer, startThreads } from './remote-rig.ts';

const MIB = 1024 * 1024;
const GROUP = { ns: '', group: 'vm/101' };
const KEY = deriveDataKey(Buffer.alloc(32, 7));

/** Bytes that compress a little and repeat nowhere. */
function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed | 1;
  for (let at = 0; at + 4 <= length; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes.writeInt32LE(state & ~0x3f, at);
  }
  return bytes;
}

async function backup(
  store: RemoteStore,
  pool: WorkerPool,
  archives: ArchiveSpec[],
  more: Partial<BackupRequest> = {},
) {
  const key = more.key;
  const session = await store.openBackup(pool, GROUP, { key, compressionLevel: 1 });
  const request: BackupRequest = {
    group: GROUP.group,
    archives,
    changeMap: undefined,
    time: undefined,
    averageBytes: session.averageBytes,
    key: undefined,
    stdin: Readable.from([]),
    signal: new AbortController().signal,
    onProgress: () => {},
    warn: () => {},
    ...more,
  };
  try {
    return await runBackup(request, pool, async () => session);
  } finally {
    await session.close();
  }
}

async function restoreImage(
  t: TestContext,
  store: RemoteStore,
  pool: WorkerPool,
  manifest: Manifest,
  key = undefined as typeof KEY | undefined,
  zeroLost = false,
): Promise<Buffer> {
  const reader = await store.openReader(pool, GROUP, [manifest.server.time], key);
  const target = join(scratch(t), 'restored');
  const [archive] = reader.manifests[0].client.archives;
  const { space } = reader.manifests[0].server;
  const request = {
    archive,
    space,
    target,
    overwrite: false,
    zeroLost,
    stdout: new PassThrough(),
    signal: new AbortController().signal,
    onProgress: () => {},
  };
  await runRestore(request, pool, (spaceOf, id) => pool.call<StoredObject>(0, 'store.read', { space: spaceOf, id }));
  await reader.close();
  return readFileSync(target);
}

for (const key of [undefined, KEY]) {
  test(`an image goes to the server and comes back, ${key === undefined ? 'plain' : 'under a key'}`, async (t) => {
    const server = await startServer(t);
    const store = connect(t, server);
    const pool = startThreads(t);
    const disk = join(scratch(t), 'disk0.img');
    const content = Buffer.concat([noise(20 * MIB, 1), Buffer.alloc(18 * MIB), noise(3 * MIB + 517, 2)]);
    writeFileSync(disk, content);
    const { committed } = await backup(store, pool, [{ name: 'disk0.img', kind: 'image', path: disk }], { key });
    assert.equal(committed.name.group, 'vm/101');
    assert.deepEqual(await restoreImage(t, store, pool, committed.manifest, key), content);
    assert.equal(server.store.sessions.size, 1, 'the committed one alone: readers ended theirs');
    if (key !== undefined) {
      const [, records] = [...server.store.records].find(([space]) => space !== 0) ?? [];
      const needle = content.subarray(MIB, MIB + 16);
      assert.ok([...(records as Map<string, Buffer>).values()].every((record) => !record.includes(needle)));
    }
  });
}

test('a first backup asks nothing of what it puts itself', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t, 1);
  server.tellsEmptyScope = true;
  const disk = join(scratch(t), 'disk0.img');
  writeFileSync(disk, noise(40 * MIB, 3));
  const { statistics } = await backup(store, pool, [{ name: 'disk0.img', kind: 'image', path: disk }]);
  assert.equal(server.of('have').length, 0);
  assert.equal(statistics.objectsNew, server.store.objects(0).size);
});

test('a second backup of the same image costs at most 2 bytes a chunk, and asks about no page', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  const disk = join(scratch(t), 'disk0.img');
  writeFileSync(disk, noise(96 * MIB, 5));
  const archives: ArchiveSpec[] = [{ name: 'disk0.img', kind: 'image', path: disk }];
  await backup(store, pool, archives);
  const chunks = server.store.objects(0).size;
  const putBefore = server.of('put').length;
  const havesBefore = server.of('have').length;
  const before = server.bulkBytes;
  let atCommit = 0;
  server.behaviour.onCommitted = () => {
    // What comes behind is the chunk that is read back.
    atCommit = server.bulkBytes;
  };
  const { statistics } = await backup(store, pool, archives);
  assert.equal(statistics.objectsNew, 0);
  assert.ok(statistics.objectsReused >= chunks - 1, `${statistics.objectsReused} of ${chunks}`);
  assert.equal(server.of('put').length, putBefore);
  // The list, which names all pages, may be asked about.
  const asked = server
    .of('have')
    .slice(havesBefore)
    .flatMap((call) => call.ids);
  assert.ok(asked.length <= 1, `${asked.length} ids were asked about`);
  const bytes = atCommit - before;
  assert.ok(bytes > 0 && bytes <= 2 * chunks, `${bytes} bytes for ${chunks} chunks`);
});

test('pages that are others than in the base are sent, and nothing of the others', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  const disk = join(scratch(t), 'disk0.img');
  const content = noise(96 * MIB, 6);
  writeFileSync(disk, content);
  const archives: ArchiveSpec[] = [{ name: 'disk0.img', kind: 'image', path: disk }];
  await backup(store, pool, archives);
  // In the second page, and over the end of the fourth.
  content.set(noise(100_000, 7), 20 * MIB);
  content.set(noise(100_000, 8), 64 * MIB - 50_000);
  writeFileSync(disk, content);
  const before = server.of('put').reduce((sum, call) => sum + call.bytes, 0);
  const { statistics, committed } = await backup(store, pool, archives);
  const sent = server.of('put').reduce((sum, call) => sum + call.bytes, 0) - before;
  assert.ok(sent > 200_000 && sent < 2_000_000, `${sent} bytes were sent for 200,000 that changed`);
  assert.equal(statistics.bytesRead, content.length);
  assert.ok((await restoreImage(t, store, pool, committed.manifest)).equals(content));
});

test('a chunk that the base has lost is sent again', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  const disk = join(scratch(t), 'disk0.img');
  const content = noise(5 * MIB, 9);
  writeFileSync(disk, content);
  const archives: ArchiveSpec[] = [{ name: 'disk0.img', kind: 'image', path: disk }];
  await backup(store, pool, archives);
  const [lost] = server.of('put')[0].taken;
  server.store.quarantined.add(lost);
  server.store.damaged = [{ archive: 'disk0.img', offset: 0, length: 65536 }];
  const { statistics, committed } = await backup(store, pool, archives);
  assert.equal(statistics.objectsNew, 1);
  assert.ok(!server.store.quarantined.has(lost));
  assert.deepEqual(await restoreImage(t, store, pool, committed.manifest), content);
});

for (const isFirst of [false, true]) {
  test(`what turns out bad at the commit${isFirst ? ' of a first backup' : ''} is sent again, and the commit repeated`, async (t) => {
    const server = await startServer(t);
    const store = connect(t, server);
    const pool = startThreads(t);
    const disk = join(scratch(t), 'disk0.img');
    const content = noise(5 * MIB, 11);
    writeFileSync(disk, content);
    const archives: ArchiveSpec[] = [{ name: 'disk0.img', kind: 'image', path: disk }];
    server.tellsEmptyScope = isFirst;
    if (!isFirst) await backup(store, pool, archives);
    let lost = '';
    server.behaviour.onCommit = () => {
      lost = server.of('put')[0].taken[0] as string;
      server.store.quarantined.add(lost);
      server.behaviour.onCommit = () => {};
      const data = { ranges: [{ archive: 'disk0.img', offset: 0, length: 65536 }] };
      throw new HoldfastError('object-damaged', 'a reused chunk turned out damaged', { data });
    };
    const warnings: string[] = [];
    const { committed } = await backup(store, pool, archives, { warn: (message) => void warnings.push(message) });
    assert.match(warnings.join(), /read in full/);
    assert.ok(!server.store.quarantined.has(lost), 'it was sent again');
    assert.deepEqual(await restoreImage(t, store, pool, committed.manifest), content);
  });
}

test('a tree goes to the server; the next time only what changed does', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  const top = join(scratch(t), 'tree');
  mkdirSync(join(top, 'a/b/c'), { recursive: true });
  for (let place = 0; place < 60; place++)
    writeFileSync(join(top, 'a/b', `f${place}`), noise(3000 + 997 * place, place));
  writeFileSync(join(top, 'a/large'), noise(3 * MIB, 77));
  symlinkSync('large', join(top, 'a/link'));
  const archives: ArchiveSpec[] = [{ name: 'root.tree', kind: 'tree', path: top }];
  const first = await backup(store, pool, archives);
  assert.ok(first.statistics.objectsNew > 60);
  const before = server.bulkBytes;
  writeFileSync(join(top, 'a/b/new'), 'x'.repeat(5000));
  const second = await backup(store, pool, archives);
  assert.ok(second.statistics.objectsNew >= 4 && second.statistics.objectsNew <= 6, `${second.statistics.objectsNew}`);
  assert.ok(server.bulkBytes - before < 64 * 1024, `${server.bulkBytes - before} bytes`);
  const { manifest } = second.committed;
  const reader = await store.openReader(pool, GROUP, [manifest.server.time], undefined);
  const target = join(scratch(t), 'restored');
  const request = {
    archive: manifest.client.archives[0],
    space: manifest.server.space,
    target,
    rules: { existing: 'refuse' as const, devices: false, zeroLost: false },
    selection: undefined,
    signal: new AbortController().signal,
    onProgress: () => {},
  };
  await runRestoreTree(request, pool, (id) => pool.call<StoredObject>(0, 'store.read', { space: request.space, id }));
  await reader.close();
  const seen = seenTree(target);
  assert.equal(Object.keys(seen).length, 67);
  assert.deepEqual(seen, seenTree(top));
});

test('a server that began anew ends a restore: what it no longer gives is not taken for lost', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server, { lines: 1 });
  const pool = startThreads(t, 1);
  const disk = join(scratch(t), 'disk0.img');
  writeFileSync(disk, noise(40 * MIB, 6));
  const { committed } = await backup(store, pool, [{ name: 'disk0.img', kind: 'image', path: disk }]);
  let gets = 0;
  server.behaviour.lie = (_, answer) => {
    if (++gets === 4) server.restart();
    return answer;
  };
  await assert.rejects(
    () => restoreImage(t, store, pool, committed.manifest, undefined, true),
    (error: unknown) => error instanceof HoldfastError && error.code === 'session-gone',
  );
});

test('a server that gives wrong bytes ends a restore with an error', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  const disk = join(scratch(t), 'disk0.img');
  writeFileSync(disk, noise(2 * MIB, 3));
  const { committed } = await backup(store, pool, [{ name: 'disk0.img', kind: 'image', path: disk }]);
  server.behaviour.lie = (call, answer) => {
    if (call.method === 'get' && answer.length > 5000) answer[answer.length >> 1] ^= 1;
    return answer;
  };
  await restoreImage(t, store, pool, committed.manifest).then(
    () => assert.fail('wrong bytes were restored'),
    (error: unknown) => assert.ok(error instanceof HoldfastError && error.code === 'object-damaged', String(error)),
  );
});

test('a server that gives another object, whole in itself, ends a restore with an error', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  const disk = join(scratch(t), 'disk0.img');
  writeFileSync(disk, noise(2 * MIB, 3));
  const { committed } = await backup(store, pool, [{ name: 'disk0.img', kind: 'image', path: disk }]);
  const chunks = [...server.store.objects(0).values()].filter((record) => record.length > 12_000);
  assert.ok(chunks.length > 10);
  server.behaviour.lie = (call, answer) => {
    if (call.method !== 'get' || answer.length < 12_000) return answer;
    return Buffer.concat(call.ids.flatMap((id) => frame(chunks.find((each) => !each.includes(id, 'hex')) as Buffer)));
  };
  await assert.rejects(
    () => restoreImage(t, store, pool, committed.manifest),
    (error: unknown) => error instanceof HoldfastError && error.code === 'object-damaged',
  );
});

test('an object that the server does not give is told as missing', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  const disk = join(scratch(t), 'disk0.img');
  writeFileSync(disk, noise(MIB, 4));
  const { committed } = await backup(store, pool, [{ name: 'disk0.img', kind: 'image', path: disk }]);
  server.store.quarantined.add(server.of('put')[0].taken[3]);
  await assert.rejects(
    () => restoreImage(t, store, pool, committed.manifest),
    (error: unknown) => error instanceof HoldfastError && error.code === 'object-missing',
  );
});
