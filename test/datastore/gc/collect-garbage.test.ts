// Garbage collection on the real store with real threads: what it frees, and for each rule what would be lost without it.
import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type ObjectId, PLAIN_SPACE } from '../../../src/chunker/object.ts';
import type { GarbageCollection } from '../../../src/datastore/gc/collect-garbage.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import { ReadDatastore } from '../../../src/datastore/read-datastore.ts';
import {
  clientPart,
  commitImage,
  createTemporaryStore,
  NO_SIGNAL,
  OpenStore,
  putData,
  putImage,
  putPage,
  putWholeImage,
} from '../../support/store.ts';
import { type Collected, chunkOf, collectIn, copiesOf, gcIn, text } from './collections.ts';

let root: string;
let remove: () => Promise<void>;
let open: OpenStore;

beforeEach(async () => {
  ({ root, remove } = await createTemporaryStore());
  open = await OpenStore.open(root);
});

afterEach(async () => {
  await open.crash();
  await remove();
});

const packFiles = (): string[] => readdirSync(join(root, 'packs')).sort();
const condemnedFiles = (): string[] => readdirSync(join(root, 'condemned'));
const packBytes = (): number => packFiles().reduce((sum, name) => sum + statSync(join(root, 'packs', name)).size, 0);
const read = (id: ObjectId): string => open.store.source.get(PLAIN_SPACE, id).payload.toString();
const entryOf = (id: Uint8Array): number => open.store.index.first(PLAIN_SPACE, id);
const packOf = (id: Uint8Array): number => open.store.index.pack(entryOf(id));
const isGone = (id: ObjectId): void => assert.throws(() => read(id), { code: 'object-missing' });

const collect = async (): Promise<Collected> => await collectIn(open);
const withGc = async <Result>(use: (gc: GarbageCollection) => Promise<Result>): Promise<Result> =>
  await gcIn(open, use);
const idOf = (image: ObjectId, of = image): ObjectId => chunkOf(open, image, of);
const allCopies = (id: Uint8Array): number[] => copiesOf(open, id);

/** Overwrites the middle of an object's record on disk. */
function damage(id: Uint8Array): void {
  const { index, packs } = open.store;
  const entry = entryOf(id);
  const fd = openSync(new Layout(root).sealedPack(packs.packId(index.pack(entry))), 'r+');
  writeSync(fd, Buffer.from('damaged!'), 0, 8, index.offset(entry) + Math.floor(index.length(entry) / 2));
  closeSync(fd);
}

describe('what is freed', () => {
  it('frees what only forgotten snapshots reached, and keeps what others share with them', async () => {
    const first = await commitImage(open, [text('only in the first'), text('in both')]);
    const second = await commitImage(open, [text('in both'), text('only in the second')]);
    const before = packBytes();
    assert.equal((await collect()).swept.bytesFreed, 0, 'nothing is garbage yet');
    await open.store.forget(first.name);
    const { swept } = await collect();
    assert.ok(swept.bytesFreed > 15_000, `${swept.bytesFreed} bytes freed`);
    assert.equal(packBytes(), before - swept.bytesFreed, 'the figure is what the disk gave back');
    isGone(first.root);
    assert.equal(open.store.source.get(PLAIN_SPACE, second.root).refs.length, 32);
    await open.close();
    open = await OpenStore.open(root);
    const again = await collect();
    assert.equal(again.swept.bytesFreed, 0);
  });

  it('frees everything when nothing is left', async () => {
    for (const seed of ['a', 'b', 'c']) await open.store.forget((await commitImage(open, [text(seed)])).name);
    await collect();
    assert.deepEqual(packFiles(), []);
    assert.deepEqual(condemnedFiles(), []);
    assert.ok((await commitImage(open, [text('a')])).root, 'what was freed can be stored anew');
  });

  it('merges the small packs that many sessions leave', async () => {
    for (let night = 0; night < 18; night++) await commitImage(open, [text(`night ${night}`, 2000)]);
    assert.equal(packFiles().length, 36);
    const { swept } = await collect();
    assert.equal(swept.packsRewritten, 36);
    assert.equal(packFiles().length, 2);
    await open.close();
    open = await OpenStore.open(root);
    assert.equal((await collect()).marked.roots.length, 18);
  });

  it('a dry run deletes nothing', async () => {
    await open.store.forget((await commitImage(open, [text('gone')])).name);
    const files = packFiles();
    const plan = await withGc(async (gc) => gc.plan(await gc.mark()));
    assert.equal(plan.drop.length, 2);
    assert.deepEqual(packFiles(), files);
  });
});

describe('beside sessions', () => {
  it('G2: a put that hits garbage between mark and sweep keeps it', async () => {
    const old = await commitImage(open, [text('hit again')]);
    await open.store.forget(old.name);
    const session = await open.session('vm/200');
    await withGc(async (gc) => {
      const plan = gc.plan(await gc.mark());
      assert.equal(plan.drop.length, 2);
      const { root: image, sizeBytes } = await putWholeImage(open, session, [text('hit again')]);
      assert.equal((await session.counters()).objectsReused, 3, 'the session relies on what was there');
      await gc.sweep(plan);
      await session.commit(clientPart(image, sizeBytes, 'vm/200'), undefined, NO_SIGNAL);
      assert.deepEqual((await gc.audit()).unreadable, []);
    });
    await open.close();
    open = await OpenStore.open(root);
    await collect();
  });

  it('G2: a put that hits a record in a flagged pack stores a new copy, and the flag goes when the pack stays', async () => {
    const { root: image } = await commitImage(open, [text('flagged')]);
    const pack = packOf(image);
    open.store.packs.setFlagged(pack, true);
    const session = await open.session('vm/200');
    await putWholeImage(open, session, [text('flagged')]);
    const { objectsNew, objectsReused } = await session.counters();
    assert.deepEqual([objectsNew, objectsReused], [2, 1], 'page and list lie in the flagged pack, the chunk does not');
    await session.suspend();
    open.store.packs.setFlagged(pack, false);
  });

  it('S3: what an open session may name stays, also when its base is forgotten meanwhile', async () => {
    const base = await commitImage(open, [text('of the base'), text('dropped by the session')]);
    const other = await commitImage(open, [text("of the owner's other group")], 'vm/300');
    const ofOther = idOf(other.root);
    const session = await open.session();
    await open.store.forget(base.name);
    await open.store.forget(other.name);
    const { swept } = await collect();
    assert.equal(swept.packsDropped, 0);
    const lengths = [text('of the base'), text("of the owner's other group")].map((each) => Buffer.byteLength(each));
    const page = await putPage(session, [
      { id: idOf(base.root), length: lengths[0] as number },
      { id: ofOther, length: lengths[1] as number },
    ]);
    const sizeBytes = lengths.reduce((sum, length) => sum + length, 0);
    const image = await putImage(session, page, sizeBytes);
    await session.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL);
    await collect();
    assert.equal(read(idOf(base.root, image)), text('of the base'));
    assert.equal(read(ofOther), text("of the owner's other group"));
    isGone(other.root);
  });

  it('S4: an open session still knows what a collection moved', async () => {
    const chunks = Array.from({ length: 6 }, (_, n) => text(`chunk ${n}`));
    const garbage = await commitImage(open, [
      ...chunks.slice(0, 1),
      text('garbage 1'),
      text('garbage 2'),
      text('garbage 3'),
    ]);
    const kept = await commitImage(open, chunks);
    const session = await open.session();
    const first = idOf(kept.root);
    const placeBefore = packOf(first);
    await open.store.forget(garbage.name);
    // The session holds the forgotten base; another group's session would not keep it: so it ends, and one without it begins.
    await session.suspend();
    const next = await open.session();
    // Its scope is known in full by now, copy by copy.
    await assert.rejects(putPage(next, [{ id: Buffer.alloc(32, 7) as ObjectId, length: 1 }]), { code: 'out-of-scope' });
    const { swept } = await collect();
    assert.ok(swept.packsRewritten > 0);
    const copies = allCopies(first);
    assert.ok(
      copies.some((entry) => open.store.index.pack(entry) !== placeBefore),
      'the chunk was moved',
    );
    const length = Buffer.byteLength(chunks[0] as string);
    const image = await putImage(next, await putPage(next, [{ id: first, length }]), length);
    await next.commit(clientPart(image, length), undefined, NO_SIGNAL);
    await collect();
    assert.equal(read(first), chunks[0]);
  });

  it('what an open session put stays before it commits, in sealed packs and open ones', async () => {
    const session = await open.session();
    const early = await putData(open, session, text('early'));
    await open.pool.all('store.seal', session.id);
    const late = await putData(open, session, text('late'), 1);
    await collect();
    const length = (id: string) => Buffer.byteLength(text(id));
    const page = await putPage(session, [
      { id: early, length: length('early') },
      { id: late, length: length('late') },
    ]);
    const sizeBytes = length('early') + length('late');
    await session.commit(clientPart(await putImage(session, page, sizeBytes), sizeBytes), undefined, NO_SIGNAL);
    await collect();
    assert.equal(read(early) + read(late), text('early') + text('late'));
  });

  it('G1: what a session hit before the collection began stays, although nothing else names it any more', async () => {
    const old = await commitImage(open, [text('hit before')]);
    const session = await open.session('vm/200', 'somebody@else');
    const { root: image, sizeBytes } = await putWholeImage(open, session, [text('hit before')]);
    assert.equal((await session.counters()).objectsNew, 0);
    await open.store.forget(old.name);
    const { swept } = await collect();
    assert.equal(swept.packsDropped, 0);
    await session.commit(clientPart(image, sizeBytes, 'vm/200'), undefined, NO_SIGNAL);
    await collect();
    assert.equal(read(idOf(image)), text('hit before'));
  });

  it('S3: what two sessions adopted stays for the second when the first has committed', async () => {
    const first = await open.session();
    const length = Buffer.byteLength(text('left behind'));
    const page = await putPage(first, [{ id: await putData(open, first, text('left behind')), length }]);
    await first.suspend();
    const [retry, other] = [await open.session(), await open.session()];
    assert.equal(other.adoptedObjects, 2);
    const whole = await putWholeImage(open, retry, [text('of the retry')]);
    await retry.commit(clientPart(whole.root, whole.sizeBytes), undefined, NO_SIGNAL);
    const image = await putImage(other, page, length);
    await collect();
    await other.commit(clientPart(image, length), undefined, NO_SIGNAL);
    await collect();
    assert.equal(read(idOf(image)), text('left behind'));
  });

  it('S2: what an unfinished session left stays for its retry, and goes when the retry is done without it', async () => {
    const session = await open.session();
    const left = await putData(open, session, text('left behind'));
    await session.suspend();
    await open.close();
    open = await OpenStore.open(root);
    await collect();
    assert.equal(read(left), text('left behind'));
    const retry = await open.session();
    assert.equal(retry.adoptedObjects, 1);
    const { root: image, sizeBytes } = await putWholeImage(open, retry, [text('something else')]);
    await retry.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL);
    await collect();
    isGone(left);
  });
});

describe('damage', () => {
  it('G3: while metadata that is needed cannot be read, nothing is deleted', async () => {
    const damaged = await commitImage(open, [text('behind the damaged page')]);
    const garbage = await commitImage(open, [text('garbage')], 'vm/200');
    await open.store.forget(garbage.name);
    damage(damaged.root);
    const files = packFiles();
    await assert.rejects(collect(), (error: { code: string; message: string }) => {
      assert.equal(error.code, 'object-damaged');
      assert.match(error.message, /nothing was deleted/);
      return true;
    });
    assert.deepEqual(packFiles(), files);
    await open.store.forget(damaged.name);
    await collect();
    assert.deepEqual(packFiles(), []);
  });

  it('a data object that is lost is counted, and does not stop a collection', async () => {
    const kept = await commitImage(open, [text('lost'), text('there')]);
    const lost = idOf(kept.root);
    damage(lost);
    assert.throws(() => read(lost), { code: 'object-damaged' });
    const marked = await withGc((gc) => gc.mark());
    assert.deepEqual(
      marked.lostData.map(({ id }) => id),
      [lost.toString('hex')],
    );
  });

  it('G4: a pack with a bad record that is needed stays as it is', async () => {
    const garbage = await commitImage(open, [text('needed'), text('garbage 1'), text('garbage 2')]);
    const kept = await commitImage(open, [text('needed')]);
    await open.store.forget(garbage.name);
    const needed = idOf(kept.root);
    damage(needed);
    const file = new Layout(root).sealedPack(open.store.packs.packId(packOf(needed)));
    const bytes = readFileSync(file);
    const swept = await withGc(async (gc) => gc.sweep(gc.plan(await gc.mark())));
    assert.equal(swept.packsKept, 1);
    assert.deepEqual(readFileSync(file), bytes);
    assert.equal(open.store.packs.isFlagged(packOf(needed)), false);
  });

  it('G4: the last good copy stays when the copy that was chosen turns out bad', async () => {
    const { root: image } = await commitImage(open, [text('two copies')]);
    const chunk = idOf(image);
    const first = packOf(chunk);
    open.store.packs.setFlagged(first, true);
    await commitImage(open, [text('two copies'), text('more')], 'vm/200');
    open.store.packs.setFlagged(first, false);
    assert.equal(allCopies(chunk).length, 2);
    damage(chunk);
    for (let round = 0; round < 3; round++) await withGc(async (gc) => gc.sweep(gc.plan(await gc.mark())));
    assert.equal(read(chunk), text('two copies'));
    await open.close();
    open = await OpenStore.open(root);
    assert.equal(read(chunk), text('two copies'));
  });

  it('a manifest that was altered may name anything: nothing is deleted', async () => {
    const { name: snapshot } = await commitImage(open, [text('unknown')]);
    const path = open.store.groups.manifestPath(snapshot);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"notes": ""', '"notes": "x"'));
    const files = packFiles();
    await assert.rejects(collect(), { code: 'manifest-altered' });
    assert.deepEqual(packFiles(), files);
  });
});

describe('locks and crashes', () => {
  it('two collections at once are refused', async () => {
    await withGc(async () => {
      await assert.rejects(collect(), { code: 'datastore-locked' });
    });
    await collect();
  });

  it('G5: a reader keeps reading what was dropped; the files go when it has gone', async () => {
    const { name: snapshot, root: image } = await commitImage(open, [text('read on')]);
    const reader = await ReadDatastore.open(root);
    try {
      const { source } = reader.objects(1e9);
      await open.store.forget(snapshot);
      await collect();
      assert.deepEqual(packFiles(), []);
      assert.equal(condemnedFiles().length, 2);
      assert.equal(source.get(PLAIN_SPACE, image).refs.length, 32);
    } finally {
      reader.close();
    }
    await collect();
    assert.deepEqual(condemnedFiles(), []);
  });

  it('an index snapshot from before a collection is not believed', async () => {
    const { name: snapshot } = await commitImage(open, [text('in the snapshot')]);
    await open.pool.call(0, 'store.writeIndexSnapshot', undefined);
    await open.store.forget(snapshot);
    await collect();
    await open.close();
    assert.ok(existsSync(join(root, 'index', 'snapshot')));
    open = await OpenStore.open(root);
    assert.equal(open.store.index.count, 0);
  });
});

/** The id of the first chunk of an image. */
