// Carrying out a plan on a real store: one by one, durably, only what the plan names, and nothing that became protected or unreadable since.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import type { Work } from '../../../src/datastore/control/operation.ts';
import { removePruned } from '../../../src/datastore/prune/prune-operation.ts';
import { type SnapshotName, snapshotLabel } from '../../../src/datastore/snapshots/group-store.ts';
import { parseNamespace } from '../../../src/schema/names.ts';
import { commitImage, createTemporaryStore, NO_SIGNAL, OpenStore } from '../../support/store.ts';

let remove: () => Promise<void>;
let open: OpenStore;
const work: Work = { signal: NO_SIGNAL, onProgress: () => {}, warn: () => {} };

beforeEach(async () => {
  const made = await createTemporaryStore();
  remove = made.remove;
  open = await OpenStore.open(made.root, 1);
});
afterEach(async () => {
  await open.crash();
  await remove();
});

async function snapshots(count: number, group = 'vm/101'): Promise<SnapshotName[]> {
  const names: SnapshotName[] = [];
  for (let n = 0; n < count; n++) names.push((await commitImage(open, [`${group} ${n}`], group)).name);
  return names;
}

const request = (names: readonly SnapshotName[]) => ({
  ns: parseNamespace(''),
  groups: names.map(({ group, time }) => ({ group, times: [time] })),
});
const isThere = (name: SnapshotName): boolean => existsSync(open.store.groups.manifestPath(name));

test('removes what it is given and nothing else', async () => {
  const [first, second, third] = (await snapshots(3)) as [SnapshotName, SnapshotName, SnapshotName];
  const [other] = (await snapshots(1, 'ct/7')) as [SnapshotName];
  assert.deepEqual(await removePruned.run(open.store, request([first, third]), work), { removed: 2, kept: [] });
  assert.deepEqual([first, second, third, other].map(isThere), [false, true, false, true]);
});

test('asked again by a holder that took over, it has done the same', async () => {
  const names = await snapshots(3);
  await open.store.forget(names[0] as SnapshotName);
  assert.deepEqual(await removePruned.run(open.store, request(names), work), { removed: 3, kept: [] });
  assert.deepEqual(await removePruned.run(open.store, request(names), work), { removed: 3, kept: [] });
});

test('what became protected, locked or altered since the plan stays, and the rest goes on', async () => {
  const names = (await snapshots(4)) as [SnapshotName, SnapshotName, SnapshotName, SnapshotName];
  await open.store.updateSnapshot(names[0], { protected: true }, true);
  await open.store.lockSnapshot(names[1], 1000 * 3600);
  const path = open.store.groups.manifestPath(names[2]);
  writeFileSync(path, readFileSync(path, 'utf8').replace('"notes": ""', '"notes": "edited"'));
  assert.deepEqual(await removePruned.run(open.store, request(names), work), {
    removed: 1,
    kept: [
      { snapshot: snapshotLabel(names[0]), rule: 'protected' },
      { snapshot: snapshotLabel(names[1]), rule: 'locked' },
      { snapshot: snapshotLabel(names[2]), rule: 'altered' },
    ],
  });
  assert.deepEqual(names.map(isThere), [true, true, true, false]);
});

test('stopped between two snapshots, it leaves the rest', async () => {
  const names = await snapshots(3);
  const controller = new AbortController();
  const { store } = open;
  const forget = store.forgetUnlessHeld.bind(store);
  store.forgetUnlessHeld = async (name) => {
    const isGone = await forget(name);
    controller.abort(new Error('stopped'));
    return isGone;
  };
  await assert.rejects(removePruned.run(store, request(names), { ...work, signal: controller.signal }), /stopped/);
  assert.deepEqual(names.map(isThere), [false, true, true]);
});

test('an error of the disk ends it', async () => {
  const names = await snapshots(2);
  const { store } = open;
  store.forgetUnlessHeld = () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }));
  await assert.rejects(removePruned.run(store, request(names), work), { code: 'EIO' });
});
