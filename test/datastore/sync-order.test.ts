// The order in which things become durable, seen from the kernel: a child process does it, and its calls are logged.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FAULT_OPS, runWithFault, skipFaults } from '../support/faults/faults.ts';
import { bundle } from '../util/bundle.ts';
import { Store, temporaryDirectory } from './fixture.ts';

/** `op path` of every call below the directory, a rename by its target; repeated ones joined, random names of packs replaced. */
async function callsOf(t: TestContext, directory: string, program: string): Promise<string[]> {
  const path = fileURLToPath(await bundle(t, program));
  const ops = FAULT_OPS.filter((op) => op !== 'open' && op !== 'ftruncate');
  const { status, stderr, calls } = await runWithFault([path, directory], { directory, ops, action: 'count' });
  assert.equal(status, 0, stderr);
  const lines = calls
    .filter((call) => call.number > 0)
    .map(({ op, path: below }) => `${op} ${below.replace(/[0-9a-f]{32}/, 'ID')}`);
  return lines.filter((line, n) => line !== lines[n - 1]);
}

const skip = skipFaults();

test('an atomic file: written, synced, renamed, directory synced', { skip }, async (t) => {
  const calls = await callsOf(
    t,
    temporaryDirectory(t),
    `import { writeFileAtomic } from './util/atomic-file.ts';
     await writeFileAtomic(process.argv[2] + '/f', 'text');`,
  );
  assert.deepEqual(
    calls.map((call) => call.replace('pwrite', 'write')),
    ['write /f.tmp', 'fsync /f.tmp', 'rename /f', 'fsync '],
  );
});

test('directories: every ancestor that is not known durable, whoever made it, and once only (rule D6)', {
  skip,
}, async (t) => {
  const calls = await callsOf(
    t,
    temporaryDirectory(t),
    `import { mkdirSync, rmdirSync } from 'node:fs';
     import { DurableDirectories } from './util/durable-directories.ts';
     const root = process.argv[2];
     const directories = new DurableDirectories(root);
     const say = (name) => rmdirSync(root + '/' + name, { recursive: false });
     mkdirSync(root + '/a/b', { recursive: true });
     await directories.create(root + '/a/b/c');
     await directories.sync(root + '/a/b/c');
     try { say('first'); } catch {}
     await directories.sync(root + '/a/b/c');
     try { say('second'); } catch {}
     directories.forget(root + '/a/b/c');
     await directories.sync(root + '/a/b/c');`,
  );
  const part = (from: string, to?: string) =>
    calls.slice(calls.indexOf(`rmdir /${from}`) + 1, to === undefined ? undefined : calls.indexOf(`rmdir /${to}`));
  const first = calls.slice(0, calls.indexOf('rmdir /first')).filter((call) => call.startsWith('fsync'));
  assert.deepEqual(first, ['fsync /a/b/c', 'fsync /a/b', 'fsync /a', 'fsync ']);
  assert.deepEqual(part('first', 'second'), ['fsync /a/b/c']);
  assert.deepEqual(part('second'), ['fsync /a/b/c', 'fsync /a/b']);
});

test('a pack: data, then its sync, then its directory; no rename before the footer is synced (rule D1)', {
  skip,
}, async (t) => {
  const store = await Store.create(t);
  const calls = await callsOf(
    t,
    store.layout.root,
    `import { rmdirSync } from 'node:fs';
     import { Layout } from './datastore/layout.ts';
     import { dropPack } from './datastore/packs/condemned.ts';
     import { PackTable } from './datastore/packs/pack-table.ts';
     import { PackWriter } from './datastore/packs/pack-writer.ts';
     import { Arena } from './util/arena.ts';
     const layout = new Layout(process.argv[2]);
     const table = new PackTable();
     const buffer = { ...new Arena(400_000).allocate(100_000), fullBytes: 65536 };
     const origin = { kind: 1, sessionId: Buffer.alloc(16), epoch: 1, storeId: Buffer.alloc(16) };
     const writer = new PackWriter(layout, table, origin, buffer);
     const append = () => writer.append(0, Buffer.alloc(32), 1, 90_000, (target) => target.fill(1).length);
     const mark = (name) => { try { rmdirSync(layout.root + '/' + name); } catch {} };
     append();
     mark('barrier');
     writer.barrier();
     mark('again');
     writer.barrier();
     append();
     writer.barrier();
     mark('seal');
     append();
     writer.seal();
     mark('drop');
     const packId = table.packId(writer.pack);
     await dropPack(layout, layout.sealedPack(packId), packId);`,
  );
  const between = (from: string, to: string) =>
    calls.slice(calls.indexOf(`rmdir /${from}`) + 1, calls.indexOf(`rmdir /${to}`));
  const file = '/packs/ID.open';
  assert.deepEqual(between('barrier', 'again'), [`pwrite ${file}`, `fdatasync ${file}`, 'fsync /packs']);
  assert.deepEqual(between('again', 'seal'), [`pwrite ${file}`, `fdatasync ${file}`], 'its name is durable already');
  assert.deepEqual(between('seal', 'drop'), [`pwrite ${file}`, `fdatasync ${file}`, 'rename /packs/ID.pack']);
  assert.deepEqual(calls.slice(calls.indexOf('rmdir /drop') + 1), [
    'rename /condemned/ID.pack',
    'fsync /condemned',
    'fsync /packs',
  ]);
});

test('a snapshot: manifest synced before its rename, then the directory and every new ancestor; removed durably', {
  skip,
}, async (t) => {
  const store = await Store.create(t);
  const calls = await callsOf(
    t,
    store.layout.root,
    `import { Layout } from './datastore/layout.ts';
     import { GroupStore } from './datastore/snapshots/group-store.ts';
     import { DurableDirectories } from './util/durable-directories.ts';
     const layout = new Layout(process.argv[2]);
     const groups = new GroupStore(layout, new DurableDirectories(layout.root));
     const name = { ns: '', group: 'vm/1', time: 1790000000 };
     const prepared = await groups.prepare(name, { client: { x: 1 }, server: { y: 2 } });
     prepared.publish();
     await prepared.sync();
     await groups.remove(name);`,
  );
  const at = '/snapshots/vm/1/2026-09-21T14:13:20Z';
  const relevant = calls.filter((call) => !call.startsWith('mkdir')).map((call) => call.replace('pwrite', 'write'));
  assert.deepEqual(relevant, [
    `write ${at}/manifest.json.tmp`,
    `fsync ${at}/manifest.json.tmp`,
    `rename ${at}/manifest.json`,
    `fsync ${at}`,
    'fsync /snapshots/vm/1',
    'fsync /snapshots/vm',
    'fsync /snapshots',
    'fsync ',
    `unlink ${at}/manifest.json`,
    `fsync ${at}`,
    `unlink ${at}/manifest.json.tmp`,
    // The log of its client, which is nothing without it.
    `unlink ${at}/client.log.blob`,
    `unlink ${at}/client.log.blob.tmp`,
    `rmdir ${at}`,
  ]);
});
