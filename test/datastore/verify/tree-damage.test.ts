// Damage in file trees on a real store: verification names files, a backup hears of it, a collection goes on when only data is lost.
import assert from 'node:assert/strict';
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { directoryOf, findPath } from '../../../src/agent/tree/read-tree.ts';
import { Kind, type ObjectId, PLAIN_SPACE } from '../../../src/chunker/object.ts';
import { IdHasher } from '../../../src/chunker/object-id.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import type { VerifyReport } from '../../../src/datastore/verify/verify-store.ts';
import { fromText } from '../../../src/util/byte-string.ts';
import { clientPart, createTemporaryStore, NO_SIGNAL, OpenStore } from '../../support/store.ts';
import { type Tree, TreeMemory } from '../../support/tree-memory.ts';

const WANTED = 'the content of a file that is large enough to be a data object of its own';
const TREE: Tree = {
  dir: { children: { wanted: { pieces: [WANTED, 4096] }, list: { listed: ['listed data'] } } },
  other: { children: { x: 'inline', deep: { children: { y: '1' } } } },
};

let root: string;
let remove: () => Promise<void>;
let open: OpenStore;
let memory: TreeMemory;
let tree: ObjectId;

beforeEach(async () => {
  ({ root, remove } = await createTemporaryStore());
  open = await OpenStore.open(root);
  memory = new TreeMemory();
  tree = await memory.root(TREE);
  await commit(tree);
  await open.close();
  open = await OpenStore.open(root);
});

afterEach(async () => {
  await open.crash();
  await remove();
});

/** Stores all objects of the memory, children before parents, and makes a snapshot. */
async function commit(top: ObjectId): Promise<void> {
  const session = await open.session('host/a');
  for (const { kind, refs, payload } of memory.objects.values()) await session.put(kind, refs, payload);
  const client = clientPart(top, 5000, 'host/a');
  const archives = [{ name: 'root.tree', kind: 'tree' as const, sizeBytes: 5000, root: top.toString('hex') }];
  await session.commit({ ...client, archives }, undefined, NO_SIGNAL);
}

function verify(): Promise<VerifyReport> {
  const request = { snapshot: null, provedSinceMs: Date.now(), rateLimitBytes: null };
  return open.store.verify(request, { signal: NO_SIGNAL, onProgress: () => {} });
}

const dataId = (text: string): ObjectId =>
  Buffer.from(new IdHasher().id(Kind.data, new Uint8Array(0), Buffer.from(text))) as ObjectId;
const directoryId = async (path: string): Promise<ObjectId> =>
  directoryOf(await findPath(memory.get, tree, fromText(path)));

/** Flips a bit in the middle of an object's record. */
function damage(id: ObjectId): void {
  const { index, packs } = open.store;
  const entry = index.first(PLAIN_SPACE, id);
  const fd = openSync(new Layout(root).sealedPack(packs.packId(index.pack(entry))), 'r+');
  const at = index.offset(entry) + Math.floor(index.length(entry) / 2);
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  byte[0]! ^= 0x10;
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
}

describe('damage in a tree', () => {
  it('is none when there is none', async () => {
    const report = await verify();
    assert.deepEqual([report.damaged, report.objectsMissing], [[], 0]);
  });

  it('of data names the file, and stops no collection', async () => {
    damage(dataId(WANTED));
    const [archive, ...more] = (await verify()).damaged;
    assert.equal(more.length, 0);
    assert.deepEqual([archive?.archive, archive?.ranges, archive?.files?.count], ['root.tree', [], 1]);
    const lost = { path: 'dir/wanted', type: 'file', sizeBytes: WANTED.length + 4096, bytesLost: WANTED.length };
    assert.deepEqual(archive?.files?.first, [lost]);
    const { lostData } = await open.store.collectGarbage({ signal: NO_SIGNAL }, (gc) => gc.mark());
    assert.deepEqual(
      lostData.map(({ id }) => id),
      [dataId(WANTED).toString('hex')],
    );
  });

  it('of data whose pack is gone names the file, and stops no collection either', async () => {
    const { index, packs } = open.store;
    const path = new Layout(root).sealedPack(packs.packId(index.pack(index.first(PLAIN_SPACE, dataId(WANTED)))));
    await open.close();
    rmSync(path);
    open = await OpenStore.open(root);
    const report = await verify();
    assert.equal(report.objectsMissing, 2);
    assert.deepEqual(
      report.damaged[0]?.files?.first.map(({ path: file }) => file),
      ['dir/list', 'dir/wanted'],
    );
    const { lostData } = await open.store.collectGarbage({ signal: NO_SIGNAL }, (gc) => gc.mark());
    assert.equal(lostData.length, 2);
  });

  it('of a directory names the directory, and stops a collection', async () => {
    damage(await directoryId('other'));
    const [archive] = (await verify()).damaged;
    assert.deepEqual(archive?.files?.first, [{ path: 'other', type: 'directory', sizeBytes: null, bytesLost: null }]);
    await assert.rejects(
      open.store.collectGarbage({ signal: NO_SIGNAL }, (gc) => gc.mark()),
      { code: 'object-damaged' },
    );
  });

  it('makes a base that is known to be damaged, and a commit that names it is refused until it is stored anew', async () => {
    damage(dataId(WANTED));
    await verify();
    const session = await open.session('host/a');
    assert.deepEqual(session.bases[0]?.damaged, [{ archive: 'root.tree', offset: 0, length: 5000 }]);
    await session.suspend();
    await commit(tree);
    const healed = await open.session('host/a');
    assert.ok(healed.bases.every(({ damaged }) => damaged.length === 0));
    await healed.suspend();
  });

  it('that is found while a session runs refuses its commit with a range for the archive', async () => {
    const session = await open.session('host/a');
    damage(dataId(WANTED));
    await verify();
    const archives = [{ name: 'root.tree', kind: 'tree' as const, sizeBytes: 5000, root: tree.toString('hex') }];
    await assert.rejects(
      session.commit({ ...clientPart(tree, 5000, 'host/a'), archives }, undefined, NO_SIGNAL),
      (error: { code?: string; data?: unknown }) => {
        assert.equal(error.code, 'object-damaged');
        assert.deepEqual(error.data, { ranges: [{ archive: 'root.tree', offset: 0, length: 5000 }] });
        return true;
      },
    );
    await session.suspend();
  });
});
