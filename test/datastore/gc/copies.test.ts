// Objects that a store has in several copies: which of them a collection keeps, and that whoever knew another knows that one.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type ObjectId, PLAIN_SPACE } from '../../../src/chunker/object.ts';
import { PackState } from '../../../src/datastore/packs/pack-table.ts';
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

const read = (id: ObjectId): string => open.store.source.get(PLAIN_SPACE, id).payload.toString();
const entryOf = (id: Uint8Array): number => open.store.index.first(PLAIN_SPACE, id);
const packOf = (id: Uint8Array): number => open.store.index.pack(entryOf(id));
const packOfEntry = (entry: number): number => open.store.index.pack(entry);
const collect = async (): Promise<Collected> => await collectIn(open);
const allCopies = (id: Uint8Array): number[] => copiesOf(open, id);

describe('several copies of an object', () => {
  /** A chunk that a snapshot needs, in two packs that are both worth rewriting: a collection that was killed leaves such, too. */
  async function chunkInTwoPacks(): Promise<{ chunk: ObjectId; packs: readonly [number, number] }> {
    const first = await commitImage(open, [text('in both'), text('garbage 1'), text('garbage 2')]);
    const chunk = chunkOf(open, first.root);
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
    const chunk = chunkOf(open, kept);
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

  it('S6: a reader that opens while a collection moves its snapshot can read it', async () => {
    const garbage = await commitImage(open, [text('garbage 1'), text('garbage 2')]);
    const { name, root: image } = await commitImage(open, [text('read')], 'vm/200');
    await open.store.forget(garbage.name);
    await gcIn(open, async (gc) => {
      const plan = gc.plan(await gc.mark());
      // Its pack is all alive: it is moved here as small packs are.
      const pack = packOf(image);
      const job = { kind: open.store.packs.kind(pack), packs: [pack], liveBytes: 1, fileBytes: 1 };
      const { all } = open.pool;
      open.pool.all = async <Result>(method: string, argument: unknown): Promise<Result[]> => {
        open.pool.all = all;
        if (method === 'store.openReader') await gc.sweep({ ...plan, rewrite: [job] });
        return await open.pool.all<Result>(method, argument);
      };
      const reader = await open.store.openReader({ ns: name.ns, group: name.group, times: [name.time] });
      assert.equal(open.store.packs.state(pack), PackState.dropped);
      const readable = allCopies(image).filter((entry) => packOfEntry(entry) !== pack);
      assert.ok(readable.length > 0 && readable.every((entry) => reader.marks.scope.has(entry)));
      await reader.end();
    });
  });

  it('a crash between the new pack and the end of the old one leaves both, and the next collection one', async () => {
    const garbage = await commitImage(open, [text('kept'), text('garbage 1'), text('garbage 2')]);
    const kept = await commitImage(open, [text('kept')]);
    const chunk = chunkOf(open, kept.root);
    await open.store.forget(garbage.name);
    await gcIn(open, async (gc) => {
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
});
