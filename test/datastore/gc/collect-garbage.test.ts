// Garbage collection on the real store with real threads: what it frees, and for each rule what would be lost without it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
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
import type { GarbageCollection, MarkResult, SweepResult } from '../../../src/datastore/gc/collect-garbage.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import { PackState } from '../../../src/datastore/packs/pack-table.ts';
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

/** Contents that compress badly, so that packs have a size worth looking at. */
const text = (seed: string, bytes = 20_000): string => {
  let out = '';
  for (let n = 0; out.length < bytes; n++) out += createHash('sha512').update(`${seed}${n}`).digest('base64');
  return `${seed}:${out}`;
};

function withGc<Result>(use: (gc: GarbageCollection) => Promise<Result>): Promise<Result> {
  return open.store.collectGarbage({ signal: NO_SIGNAL }, use);
}

async function collect(): Promise<{ marked: MarkResult; swept: SweepResult }> {
  return await withGc(async (gc) => {
    const marked = await gc.mark();
    const swept = await gc.sweep(gc.plan(marked));
    const audit = await gc.audit();
    assert.deepEqual(audit.unreadable, [], 'the audit found everything');
    return { marked, swept };
  });
}

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
    const ofOther = await idOf(other.root);
    const session = await open.session();
    await open.store.forget(base.name);
    await open.store.forget(other.name);
    const { swept } = await collect();
    assert.equal(swept.packsDropped, 0);
    const lengths = [text('of the base'), text("of the owner's other group")].map((each) => Buffer.byteLength(each));
    const page = await putPage(session, [
      { id: await idOf(base.root), length: lengths[0] as number },
      { id: ofOther, length: lengths[1] as number },
    ]);
    const sizeBytes = lengths.reduce((sum, length) => sum + length, 0);
    const image = await putImage(session, page, sizeBytes);
    await session.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL);
    await collect();
    assert.equal(read(await idOf(base.root, image)), text('of the base'));
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
    const first = await idOf(kept.root);
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
    assert.equal(read(await idOf(image)), text('hit before'));
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
    assert.equal(read(await idOf(image)), text('left behind'));
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
    const lost = await idOf(kept.root);
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
    const needed = await idOf(kept.root);
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
    const chunk = await idOf(image);
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

  /** A chunk that a snapshot needs, in two packs that are both worth rewriting: a collection that was killed leaves such, too. */
  async function chunkInTwoPacks(): Promise<{ chunk: ObjectId; packs: readonly [number, number] }> {
    const first = await commitImage(open, [text('in both'), text('garbage 1'), text('garbage 2')]);
    const chunk = await idOf(first.root);
    const one = packOf(chunk);
    open.store.packs.setFlagged(one, true);
    const second = await commitImage(open, [text('in both'), text('in one'), text('garbage 3')], 'vm/200');
    open.store.packs.setFlagged(one, false);
    await commitImage(open, [text('in both'), text('in one')], 'vm/300');
    for (const { name } of [first, second]) await open.store.forget(name);
    const [other, ...more] = allCopies(chunk)
      .map((entry) => open.store.index.pack(entry))
      .filter((pack) => pack !== one);
    assert.ok(other !== undefined && more.length === 0, 'there are two copies');
    return { chunk, packs: [one, other] };
  }

  it('what two packs of one rewriting hold is copied once, and nothing is left to free', async () => {
    const { chunk, packs } = await chunkInTwoPacks();
    const { swept } = await collect();
    assert.ok(swept.packsRewritten >= packs.length);
    assert.equal(read(chunk), text('in both'));
    const { marked } = await collect();
    assert.equal(
      marked.figures.reduce((sum, { deadBytes }) => sum + deadBytes, 0),
      0,
    );
  });

  it('what one pack holds twice is copied once', async () => {
    const { index } = open.store;
    const session = await open.session();
    const chunk = await putData(open, session, text('twice'));
    const first = entryOf(chunk);
    index.quarantine(first);
    const { root: image, sizeBytes } = await putWholeImage(open, session, [text('twice'), text('garbage')]);
    const { name } = await session.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL);
    // As a repair finds it, when only the cable was bad.
    index.release(first);
    assert.deepEqual(
      allCopies(chunk).map((entry) => index.pack(entry)),
      [packOf(chunk), packOf(chunk)],
    );
    await commitImage(open, [text('twice')], 'vm/200');
    await open.store.forget(name);
    assert.ok((await collect()).swept.packsRewritten > 0);
    assert.equal(read(chunk), text('twice'));
    const { marked } = await collect();
    assert.equal(
      marked.figures.reduce((sum, { deadBytes }) => sum + deadBytes, 0),
      0,
    );
  });

  it('S3: what a session has in scope stays so when its copy goes in favour of one that came later', async () => {
    const { name } = await commitImage(open, [text('in scope'), text('garbage 1'), text('garbage 2')]);
    const { root: kept } = await commitImage(open, [text('in scope')], 'vm/200');
    await open.store.forget(name);
    const chunk = await idOf(kept);
    const session = await open.session('vm/300');
    // An id that nobody knows is refused only when all of the scope is known.
    await assert.rejects(putPage(session, [{ id: Buffer.alloc(32, 1) as ObjectId, length: 1 }]), {
      code: 'out-of-scope',
    });
    const one = packOf(chunk);
    // As for the moment in which a collection looks at its pack.
    open.store.packs.setFlagged(one, true);
    const more = Array.from({ length: 60 }, (_, at) => text(`not garbage ${at}`));
    await commitImage(open, [text('in scope'), ...more], 'vm/400');
    open.store.packs.setFlagged(one, false);
    assert.equal(allCopies(chunk).length, 2);
    await collect();
    assert.equal(open.store.packs.state(one), PackState.dropped);
    const length = text('in scope').length;
    const image = await putImage(session, await putPage(session, [{ id: chunk, length }]), length);
    await session.commit(clientPart(image, length, 'vm/300'), undefined, NO_SIGNAL);
  });

  it('S4: sessions that put either of two copies keep the one that stands for both', async () => {
    const { chunk, packs } = await chunkInTwoPacks();
    const sessions = [];
    for (const [place, hidden] of packs.entries()) {
      open.store.packs.setFlagged(hidden, true);
      const session = await open.session(`vm/${400 + place}`);
      await putData(open, session, text('in both'));
      open.store.packs.setFlagged(hidden, false);
      sessions.push(session);
    }
    await collect();
    const left = allCopies(chunk).filter((entry) => open.store.source.isGood(entry, chunk));
    assert.equal(left.length, 1);
    for (const session of sessions) {
      assert.ok(session.marks.puts.has(left[0] as number), `${session.id} knows it`);
      await session.suspend();
    }
  });

  it('a crash between the new pack and the end of the old one leaves both, and the next collection one', async () => {
    const garbage = await commitImage(open, [text('kept'), text('garbage 1'), text('garbage 2')]);
    const kept = await commitImage(open, [text('kept')]);
    const chunk = await idOf(kept.root);
    await open.store.forget(garbage.name);
    await withGc(async (gc) => {
      const [job] = gc.plan(await gc.mark()).rewrite.filter(({ packs }) => packs.includes(packOf(chunk)));
      assert.ok(job);
      for (const pack of job.packs) open.store.packs.setFlagged(pack, true);
      await open.pool.call(0, 'gc.rewrite', { kind: job.kind, packs: job.packs });
    });
    await open.crash();
    open = await OpenStore.open(root);
    assert.equal(allCopies(chunk).length, 2);
    assert.equal(read(chunk), text('kept'));
    await collect();
    await collect();
    await open.close();
    open = await OpenStore.open(root);
    assert.equal(allCopies(chunk).length, 1);
    assert.equal(read(chunk), text('kept'));
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
async function idOf(image: ObjectId, of = image): Promise<ObjectId> {
  const page = open.store.source.get(PLAIN_SPACE, of).refs.subarray(0, 32);
  return Buffer.from(
    open.store.source.get(PLAIN_SPACE, Buffer.from(page) as ObjectId).refs.subarray(0, 32),
  ) as ObjectId;
}

function allCopies(id: Uint8Array): number[] {
  const { index } = open.store;
  const copies: number[] = [];
  for (let entry = index.first(PLAIN_SPACE, id); entry >= 0; entry = index.next()) copies.push(entry);
  return copies;
}
