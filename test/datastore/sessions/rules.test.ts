// The rules of durability and sessions on the real store with real threads: for each, what would be lost without it.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { PLAIN_SPACE } from '../../../src/chunker/object.ts';
import { PackState } from '../../../src/datastore/packs/pack-table.ts';
import { ReadDatastore } from '../../../src/datastore/read-datastore.ts';
import { formatTime, parseGroup, parseNamespace } from '../../../src/schema/names.ts';
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

const files = (folder: string): string[] => readdirSync(join(root, folder));
const reopen = async (): Promise<void> => {
  open = await OpenStore.open(root);
};
const entryOf = (id: Uint8Array): number => open.store.index.first(PLAIN_SPACE, id);
const packOf = (id: Uint8Array): number => open.store.index.pack(entryOf(id));
const isDurable = (id: Uint8Array): boolean => {
  const { index, packs } = open.store;
  const entry = entryOf(id);
  return packs.isDurable(index.pack(entry), index.offset(entry) + index.length(entry));
};
const name = (time: number, group = 'vm/101') => ({ ns: parseNamespace(''), group: parseGroup(group), time });

describe('durability', () => {
  it('D1: a record is volatile until a barrier of its pack', async () => {
    const session = await open.session();
    const id = await putData(open, session, 'volatile');
    assert.equal(isDurable(id), false);
    await open.pool.all('store.barrier', [packOf(id)]);
    assert.equal(isDurable(id), true);
    const later = await putData(open, session, 'written after the barrier');
    assert.equal(packOf(later), packOf(id));
    assert.equal(isDurable(later), false);
    await session.suspend();
  });

  it('D5: a commit makes durable what it hit in the packs of another session that is still running', async () => {
    const other = await open.session('vm/200');
    const shared = await putData(open, other, 'put by another session');
    const session = await open.session('vm/101');
    const again = await putData(open, session, 'put by another session', 1);
    assert.deepEqual(again, shared);
    const sizeBytes = Buffer.byteLength('put by another session');
    const image = await putImage(session, await putPage(session, [{ id: again, length: sizeBytes }]), sizeBytes);
    assert.equal(isDurable(shared), false);
    await session.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL);
    assert.equal(isDurable(shared), true);
    // The other session's pack was synced, not ended: it goes on.
    assert.equal(open.store.packs.state(packOf(shared)), PackState.open);
    await open.crash();
    await reopen();
    assert.equal(open.store.source.get(PLAIN_SPACE, shared).payload.toString(), 'put by another session');
  });

  it('D2: a session that relies on a condemned pack fails, and its volatile records are unknown afterwards', async () => {
    const other = await open.session('vm/200');
    const shared = await putData(open, other, 'lost with its pack');
    const session = await open.session('vm/101');
    const { root: image, sizeBytes } = await putWholeImage(open, session, ['lost with its pack']);
    open.store.packs.setState(packOf(shared), PackState.condemned);
    await assert.rejects(session.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL), {
      code: 'pack-condemned',
    });
    assert.deepEqual(await open.store.groups.times(parseNamespace(''), parseGroup('vm/101')), []);
    await session.suspend();
    const retry = await open.session('vm/101');
    await putData(open, retry, 'lost with its pack');
    assert.equal((await retry.counters()).objectsNew, 1, 'a withdrawn record must be stored anew');
    await retry.suspend();
  });

  it('D2: what was durable before the pack failed stays readable, and is not relied on by new puts', async () => {
    const other = await open.session('vm/200');
    const early = await putData(open, other, 'durable in time');
    await open.pool.all('store.barrier', [packOf(early)]);
    const late = await putData(open, other, 'too late');
    open.store.packs.setState(packOf(early), PackState.condemned);
    assert.equal(open.store.source.get(PLAIN_SPACE, early).payload.toString(), 'durable in time');
    assert.throws(() => open.store.source.get(PLAIN_SPACE, late), { code: 'object-missing' });
    const session = await open.session('vm/101');
    await putData(open, session, 'durable in time');
    assert.equal((await session.counters()).objectsNew, 1);
    await session.suspend();
  });

  it('D3: unsealed packs are copied into new ones at the next open, never used in place', async () => {
    const session = await open.session();
    const id = await putData(open, session, 'in an open pack');
    await open.pool.all('store.flush', session.id);
    const before = files('packs');
    assert.ok(before.every((file) => file.endsWith('.open')));
    await open.crash();
    await reopen();
    const after = files('packs');
    assert.ok(after.every((file) => file.endsWith('.pack')));
    assert.equal(
      after.some((file) => before.includes(file.replace('.pack', '.open'))),
      false,
    );
    assert.equal(isDurable(id), true);
    assert.equal(open.store.source.get(PLAIN_SPACE, id).payload.toString(), 'in an open pack');
    assert.deepEqual(files('condemned'), []);
  });

  it('D4: a second copy displaces nothing, and stands in when the first is found bad', async () => {
    const first = await commitImage(open, ['two copies of this']);
    const id = first.root;
    const entry = entryOf(id);
    open.store.index.quarantine(entry);
    const second = await commitImage(open, ['two copies of this']);
    assert.deepEqual(second.root, id);
    const copies: number[] = [];
    for (let at = open.store.index.first(PLAIN_SPACE, id); at >= 0; at = open.store.index.next()) copies.push(at);
    assert.equal(copies.length, 2);
    assert.equal(open.store.source.get(PLAIN_SPACE, id).kind, 3);
  });

  it('D7: a commit repeated for its session returns the same snapshot', async () => {
    const session = await open.session();
    const { root: image, sizeBytes } = await putWholeImage(open, session, ['once']);
    const first = await session.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL);
    const second = await session.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL);
    assert.deepEqual(second.name, first.name);
    assert.equal(second.manifest.server.sequence, first.manifest.server.sequence);
    assert.equal((await open.store.groups.times(parseNamespace(''), parseGroup('vm/101'))).length, 1);
  });

  it('D8: sequence numbers never go back, also after the newest snapshot was forgotten and the store reopened', async () => {
    const first = await commitImage(open, ['one']);
    const second = await commitImage(open, ['two']);
    assert.equal(second.manifest.server.sequence, first.manifest.server.sequence + 1);
    assert.ok(second.name.time > first.name.time, 'labels of one second must differ');
    await open.store.forget(second.name);
    await open.close();
    await reopen();
    const third = await commitImage(open, ['three']);
    assert.equal(third.manifest.server.sequence, second.manifest.server.sequence + 1);
    assert.ok(third.name.time > second.name.time);
  });

  it('D8: a label that was asked for but is too old becomes the next second and is said', async () => {
    const first = await commitImage(open, ['one']);
    const session = await open.session();
    const { root: image, sizeBytes } = await putWholeImage(open, session, ['two']);
    const second = await session.commit(clientPart(image, sizeBytes), first.name.time - 1000, NO_SIGNAL);
    assert.equal(second.name.time, first.name.time + 1);
    assert.equal(second.manifest.server.suspectClock, true);
    assert.match(second.warnings[0] ?? '', new RegExp(formatTime(first.name.time)));
  });
});

describe('sessions', () => {
  it('S1: a session has a file from before its first pack until its manifest is durable', async () => {
    const session = await open.session();
    assert.deepEqual(files('sessions'), [`${session.id}.json`]);
    assert.deepEqual(files('packs'), []);
    const { root: image, sizeBytes } = await putWholeImage(open, session, ['x']);
    await session.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL);
    assert.deepEqual(files('sessions'), []);
  });

  it('S1: what an unfinished session stored serves the retry, whose commit ends it', async () => {
    const session = await open.session();
    await putWholeImage(open, session, ['stored before the crash', 'this too']);
    await open.pool.all('store.flush', session.id);
    await open.crash();
    await reopen();
    assert.equal(open.store.unfinishedSessions.length, 1);
    const retry = await open.session();
    assert.ok(retry.adoptedObjects >= 2);
    const { root: image, sizeBytes } = await putWholeImage(open, retry, ['stored before the crash', 'this too']);
    assert.equal((await retry.counters()).objectsNew, 0);
    await retry.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL);
    assert.deepEqual(files('sessions'), []);
    assert.equal(open.store.unfinishedSessions.length, 0);
  });

  it('S1: two retries of the same session end it once, and no other', async () => {
    const left = await open.session();
    await putData(open, left, 'left behind');
    await left.suspend();
    const retries = [await open.session(), await open.session()];
    const other = await open.session('vm/200');
    await putData(open, other, 'of another group');
    await other.suspend();
    for (const retry of retries) {
      assert.equal(retry.adoptedObjects, 1);
      const { root: image, sizeBytes } = await putWholeImage(open, retry, ['of a retry']);
      await retry.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL);
    }
    assert.equal((await open.session('vm/200')).adoptedObjects, 1);
  });

  it('S1: leftovers of another group or owner are not adopted', async () => {
    const session = await open.session('vm/200');
    await putData(open, session, 'of another group');
    await session.suspend();
    const mine = await open.session('vm/101');
    assert.equal(mine.adoptedObjects, 0);
    await mine.suspend();
  });

  it('S1: a session file whose manifest exists already is taken away at open', async () => {
    const { manifest } = await commitImage(open, ['committed']);
    await open.close();
    const { session, owner, space } = manifest.server;
    const record = {
      format: 1,
      session,
      kind: 'backup',
      ns: '',
      group: 'vm/101',
      owner,
      space,
      opened: '2026-11-21T00:00:00Z',
      openedClockMs: 0,
    };
    writeFileSync(join(root, 'sessions', `${session}.json`), JSON.stringify(record));
    await reopen();
    assert.deepEqual(files('sessions'), []);
    assert.equal(open.store.unfinishedSessions.length, 0);
  });

  it('S2: of the leftovers only those count whose whole closure is present', async () => {
    const session = await open.session();
    const child = await putData(open, session, 'the child that gets lost');
    const page = await putPage(session, [{ id: child, length: 24 }]);
    await session.suspend();
    await open.close();
    rmSync(join(root, 'index', 'snapshot'), { force: true });
    // Data and metadata lie in packs of their own: take away the data.
    for (const file of files('packs'))
      if (readFileSync(join(root, 'packs', file))[10] === 1) rmSync(join(root, 'packs', file));
    await reopen();
    const retry = await open.session();
    assert.equal(retry.adoptedObjects, 0);
    await assert.rejects(putImage(retry, page, 24), { code: 'out-of-scope' });
    await retry.suspend();
  });

  it('S3: the scope is fixed at open: a forget meanwhile does not take the base away', async () => {
    const base = await commitImage(open, ['kept by the open session']);
    const session = await open.session();
    await open.store.forget(base.name);
    const sizeBytes = base.manifest.client.archives[0]?.sizeBytes ?? 0;
    await session.commit(clientPart(base.root, sizeBytes), undefined, NO_SIGNAL);
    assert.equal((await open.store.groups.times(parseNamespace(''), parseGroup('vm/101'))).length, 1);
  });

  it('S3: what any present snapshot of the owner reaches is in scope, also in another group and three snapshots back', async () => {
    const elsewhere = await commitImage(open, ['of group 200'], 'vm/200');
    for (const text of ['a', 'b', 'c']) await commitImage(open, [text], 'vm/200');
    const session = await open.session('vm/101');
    const sizeBytes = elsewhere.manifest.client.archives[0]?.sizeBytes ?? 0;
    await session.commit(clientPart(elsewhere.root, sizeBytes), undefined, NO_SIGNAL);
  });

  it('S4: an object of another owner cannot be named, only put again', async () => {
    const theirs = await commitImage(open, ['secret of alice'], 'vm/300', 'alice@pbs');
    const page = open.store.source.get(PLAIN_SPACE, theirs.root).refs as Buffer;
    const session = await open.session('vm/101');
    await assert.rejects(putImage(session, page as never, 15), { code: 'out-of-scope' });
    await assert.rejects(session.get(theirs.root), { code: 'object-missing' });
    await assert.rejects(session.commit(clientPart(theirs.root, 15), undefined, NO_SIGNAL), { code: 'out-of-scope' });
    const { root: own } = await putWholeImage(open, session, ['secret of alice']);
    assert.deepEqual(own, theirs.root);
    assert.equal((await session.counters()).objectsNew, 0, 'it is deduplicated all the same');
    await session.suspend();
  });

  it('S4: have answers from scope and own puts only', async () => {
    const theirs = await commitImage(open, ['not mine'], 'vm/300', 'alice@pbs');
    const mine = await commitImage(open, ['mine']);
    const session = await open.session('vm/101');
    const put = await putData(open, session, 'just now');
    const known = await open.pool.call(0, 'store.have', { session: session.id, ids: [theirs.root, mine.root, put] });
    assert.deepEqual(known, [false, true, true]);
    await session.suspend();
  });

  it('S4: a quarantined object is not in scope', async () => {
    const base = await commitImage(open, ['gone bad']);
    const session = await open.session();
    open.store.index.quarantine(entryOf(base.root));
    await assert.rejects(session.commit(clientPart(base.root, 8), undefined, NO_SIGNAL), { code: 'out-of-scope' });
    await session.suspend();
  });

  it('S5: a commit refuses what was found damaged since it opened, and names the ranges', async () => {
    const chunks = ['first chunk', 'second chunk'];
    const base = await commitImage(open, chunks);
    const session = await open.session();
    const page = open.store.source.get(PLAIN_SPACE, base.root).refs;
    const second = open.store.source.get(PLAIN_SPACE, page as never).refs.subarray(32);
    const bad = entryOf(second);
    open.store.index.quarantine(bad);
    open.store.noteQuarantined(bad);
    const commit = session.commit(clientPart(base.root, 23), undefined, NO_SIGNAL);
    await assert.rejects(commit, (error: { code: string; data: { ranges: unknown } }) => {
      assert.equal(error.code, 'object-damaged');
      assert.deepEqual(error.data.ranges, [{ archive: 'disk0.img', offset: 11, length: 12 }]);
      return true;
    });
    // Storing the chunk anew heals it, and the same commit goes through.
    await putData(open, session, 'second chunk');
    await session.commit(clientPart(base.root, 23), undefined, NO_SIGNAL);
  });

  it('S5: the base is the newer snapshot without damage, and damage is handed to the session', async () => {
    const older = await commitImage(open, ['good']);
    const newer = await commitImage(open, ['bad']);
    const page = open.store.source.get(PLAIN_SPACE, newer.root).refs;
    const bad = entryOf(open.store.source.get(PLAIN_SPACE, page as never).refs);
    open.store.index.quarantine(bad);
    open.store.noteQuarantined(bad);
    const session = await open.session();
    assert.deepEqual(
      session.bases.map((base) => [base.sequence, base.damaged.length]),
      [
        [older.manifest.server.sequence, 0],
        [newer.manifest.server.sequence, 1],
      ],
    );
    await session.suspend();
  });

  it('a group belongs to its owner', async () => {
    await commitImage(open, ['x'], 'vm/101', 'alice@pbs');
    await assert.rejects(open.session('vm/101', 'bob@pbs'), { code: 'not-owner' });
  });
});

describe('holder and readers', () => {
  it('L1: a second holder is refused, a reader is not, and the epoch rises with each open', async () => {
    const { name: first } = await commitImage(open, ['x']);
    await assert.rejects(OpenStore.open(root), { code: 'datastore-locked' });
    const reader = await ReadDatastore.open(root);
    assert.ok(await reader.groups.manifest(first));
    assert.ok(
      reader
        .objects(1000)
        .source.get(
          PLAIN_SPACE,
          (await reader.groups.manifest(first))
            ? (Buffer.from((await reader.groups.manifest(first))?.client.archives[0]?.root ?? '', 'hex') as never)
            : (undefined as never),
        ),
    );
    const epoch = JSON.parse(readFileSync(join(root, 'holder.json'), 'utf8')).epoch;
    reader.close();
    await open.close();
    await reopen();
    assert.equal(JSON.parse(readFileSync(join(root, 'holder.json'), 'utf8')).epoch, epoch + 1);
  });

  it('G5: what a reader may still read is not deleted', async () => {
    const session = await open.session();
    await putData(open, session, 'dropped while read');
    await open.pool.all('store.flush', session.id);
    await open.crash();
    const reader = await ReadDatastore.open(root);
    const objects = reader.objects(1000);
    await reopen();
    assert.equal(files('condemned').length, 1);
    assert.equal(
      objects.source.get(PLAIN_SPACE, await idOf('dropped while read')).payload.toString(),
      'dropped while read',
    );
    reader.close();
    await open.close();
    await reopen();
    assert.deepEqual(files('condemned'), []);
  });

  it('a forgotten snapshot is gone for good, its neighbours stay', async () => {
    const first = await commitImage(open, ['one']);
    const second = await commitImage(open, ['two']);
    await open.store.forget(first.name);
    await assert.rejects(open.store.forget(first.name), { code: 'not-found' });
    await open.close();
    await reopen();
    assert.deepEqual(await open.store.groups.times(parseNamespace(''), parseGroup('vm/101')), [second.name.time]);
    assert.equal(existsSync(open.store.groups.manifestPath(name(first.name.time))), false);
  });
});

async function idOf(text: string): Promise<never> {
  const { IdHasher } = await import('../../../src/chunker/object-id.ts');
  return new IdHasher().id(1, new Uint8Array(0), Buffer.from(text)) as never;
}
