// Groups and namespaces: what may be changed, what may go, and what a running backup forbids.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { changeLimits } from '../../../src/datastore/limits/limits-file.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import {
  clientPart,
  commitImage,
  createTemporaryStore,
  NO_SIGNAL,
  OpenStore,
  putWholeImage,
} from '../../support/store.ts';

const ROOT = parseNamespace('');
const group = parseGroup('vm/101');
let open: OpenStore;
let root: string;
let remove: () => Promise<void>;

beforeEach(async () => {
  ({ root, remove } = await createTemporaryStore());
  open = await OpenStore.open(root, 1);
});
afterEach(async () => {
  await open.close();
  await remove();
});

test('a group that is released is the next comer’s, and its numbers go on', async () => {
  const { keeping } = open.store;
  const { name, manifest } = await commitImage(open, ['a'], 'vm/101', 'anna');
  await assert.rejects(keeping.releaseGroup(ROOT, group), { code: 'exists' });
  await open.store.forget(name);
  await assert.rejects(commitImage(open, ['b'], 'vm/101', 'berta'), { code: 'not-owner' });
  await keeping.changeGroup(ROOT, group, { notes: 'old' });
  await keeping.releaseGroup(ROOT, group);
  const next = await commitImage(open, ['b'], 'vm/101', 'berta');
  assert.equal(next.manifest.server.sequence, manifest.server.sequence + 1);
  assert.ok(next.name.time > name.time);
  const state = await open.store.groups.state(ROOT, group);
  assert.deepEqual([state?.owner, state?.notes], ['berta', undefined]);
});

test('owner and notes stay when the store is opened anew, and through the next backup', async () => {
  await commitImage(open, ['a'], 'vm/101', 'anna');
  await open.store.keeping.changeGroup(ROOT, group, { owner: 'berta', notes: 'two\nlines' });
  await open.close();
  open = await OpenStore.open(root, 1);
  await commitImage(open, ['b'], 'vm/101', 'berta');
  const state = await open.store.groups.state(ROOT, group);
  assert.deepEqual([state?.owner, state?.notes, state?.lastSequence], ['berta', 'two\nlines', 2]);
});

test('nothing of a group changes while a backup of it runs, and all can once it has ended', async () => {
  await commitImage(open, ['a']);
  const session = await open.session();
  const { keeping } = open.store;
  await assert.rejects(keeping.changeGroup(ROOT, group, { owner: 'berta' }), { code: 'datastore-locked' });
  await assert.rejects(keeping.releaseGroup(ROOT, group), { code: 'datastore-locked' });
  await session.suspend();
  await keeping.changeGroup(ROOT, group, { owner: 'berta' });
  await assert.rejects(keeping.changeGroup(ROOT, parseGroup('vm/404'), { owner: 'berta' }), { code: 'not-found' });
});

test('namespaces need their parent, are made twice without harm, and go from the inside', async () => {
  const { keeping, groups } = open.store;
  const [outer, inner] = [parseNamespace('team'), parseNamespace('team/inner')];
  await assert.rejects(keeping.createNamespace(inner), { code: 'not-found' });
  for (const ns of [outer, outer, inner]) await keeping.createNamespace(ns);
  assert.deepEqual(await groups.namespaces(), ['', 'team', 'team/inner']);
  await assert.rejects(keeping.removeNamespace(outer), { code: 'exists' });
  await assert.rejects(keeping.removeNamespace(ROOT), { code: 'bad-argument' });
  await keeping.removeNamespace(inner);
  await keeping.removeNamespace(outer);
  assert.deepEqual(await groups.namespaces(), ['']);
  // What was removed can be made and used anew in the same process: its directories are synced again.
  await keeping.createNamespace(outer);
  assert.deepEqual(await groups.namespaces(), ['', 'team']);
});

test('a namespace with a backup or a snapshot in it stays; without them it goes, with the marks of its groups', async () => {
  const ns = parseNamespace('team');
  await open.store.keeping.createNamespace(ns);
  const session = await open.store.openSession({ ns, group, owner: 'anna', compressionLevel: 1 });
  await assert.rejects(open.store.keeping.removeNamespace(ns), { code: 'datastore-locked' });
  await session.suspend();
  const name = await commitIn(ns);
  await assert.rejects(open.store.keeping.removeNamespace(ns), { code: 'exists' });
  await open.store.forget(name);
  await open.store.keeping.removeNamespace(ns);
  assert.deepEqual(await open.store.groups.namespaces(), ['']);
  assert.equal(await open.store.groups.state(ns, group), undefined);
});

test('maintenance forbids all of it', async () => {
  await commitImage(open, ['a']);
  await changeLimits(open.store.layout, (limits) => ({
    ...limits,
    maintenance: { mode: 'read-only', message: '' },
  }));
  const { keeping } = open.store;
  for (const change of [
    () => keeping.changeGroup(ROOT, group, { notes: 'x' }),
    () => keeping.releaseGroup(ROOT, group),
    () => keeping.createNamespace(parseNamespace('x')),
    () => keeping.removeNamespace(parseNamespace('x')),
  ])
    await assert.rejects(change(), { code: 'datastore-maintenance' });
});

async function commitIn(ns: ReturnType<typeof parseNamespace>) {
  const session = await open.store.openSession({ ns, group, owner: 'anna', compressionLevel: 1 });
  const { root: image, sizeBytes } = await putWholeImage(open, session, ['content']);
  return (await session.commit(clientPart(image, sizeBytes), undefined, NO_SIGNAL)).name;
}
