// Lists open a manifest once, notice every change of it, and do not grow without end.
import assert from 'node:assert/strict';
import { cp, mkdir, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { SnapshotViews } from '../../../src/api/snapshots/snapshot-views.ts';
import type { HeldDatastore } from '../../../src/datastore/held-datastore.ts';
import { formatTime, type GroupName, parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { commitImage, createTemporaryStore, OpenStore } from '../../support/store.ts';

const ns = parseNamespace('');
const group = parseGroup('vm/101');
let open: OpenStore;
let remove: () => Promise<void>;
/** Manifests that were opened. */
let opened: string[];

/** The store as the views see it, counting what is opened. */
function counting(store: HeldDatastore): HeldDatastore {
  const groups = new Proxy(store.groups, {
    get(target, name) {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== 'function') return member;
      return (...given: unknown[]) => {
        if (name === 'manifest') opened.push(JSON.stringify(given[0]));
        return (member as (...all: unknown[]) => unknown).apply(target, given);
      };
    },
  });
  return { groups } as HeldDatastore;
}

beforeEach(async () => {
  const temporary = await createTemporaryStore();
  remove = temporary.remove;
  open = await OpenStore.open(temporary.root, 1);
  opened = [];
});
afterEach(async () => {
  await open.close();
  await remove();
});

async function listed(view: ReturnType<SnapshotViews['of']>, name: GroupName = group): Promise<string[]> {
  const found = await view.group(ns, name);
  const rows = [];
  for (const time of found?.times ?? []) {
    const row = await view.row({ ns, group: name, time });
    if (row !== undefined) rows.push(`${formatTime(time)} ${row.notes}`);
  }
  return rows;
}

test('a manifest is opened once, and again when it changed', async () => {
  const view = new SnapshotViews().of(counting(open.store));
  const { name } = await commitImage(open, ['a']);
  await commitImage(open, ['b']);
  for (let turn = 0; turn < 3; turn++) assert.equal((await listed(view)).length, 2);
  assert.equal(opened.length, 2);
  await open.store.updateSnapshot(name, { notes: 'changed' }, true);
  assert.deepEqual((await listed(view))[0], `${formatTime(name.time)} changed`);
  assert.equal(opened.length, 3);
});

test('what is made or forgotten is in the next list, also when nothing had changed for long', async () => {
  const view = new SnapshotViews().of(open.store);
  const { name } = await commitImage(open, ['a']);
  assert.equal((await listed(view)).length, 1);
  const path = open.store.groups.groupPath(ns, group);
  const longAgo = new Date(Date.now() - 3_600_000);
  await utimes(path, longAgo, longAgo);
  assert.equal((await listed(view)).length, 1);
  await commitImage(open, ['b']);
  assert.equal((await listed(view)).length, 2);
  await utimes(path, longAgo, longAgo);
  assert.equal((await listed(view)).length, 2);
  await open.store.forget(name);
  assert.equal((await listed(view)).length, 1);
});

test('a snapshot whose directory was there before its manifest appears when the manifest does', async () => {
  const view = new SnapshotViews().of(open.store);
  const { name } = await commitImage(open, ['a']);
  const path = open.store.groups.groupPath(ns, group);
  const label = formatTime(name.time + 10);
  await mkdir(join(path, label));
  const longAgo = new Date(Date.now() - 3_600_000);
  await utimes(path, longAgo, longAgo);
  assert.equal((await listed(view)).length, 1);
  await cp(open.store.groups.manifestPath(name), join(path, label, 'manifest.json'));
  await utimes(path, longAgo, longAgo);
  assert.equal((await listed(view)).length, 2);
});

test('a manifest that was edited by hand stands in the list without figures, and hides no other', async () => {
  const view = new SnapshotViews().of(open.store);
  const { name } = await commitImage(open, ['a']);
  await commitImage(open, ['b']);
  await writeFile(open.store.groups.manifestPath(name), '{"format":1}');
  const row = await view.row(name);
  assert.deepEqual([row?.size, row?.files], [undefined, []]);
  assert.equal((await listed(view)).length, 2);
});

test('owner and notes of a group are those of the moment; a group that was removed has none', async () => {
  const view = new SnapshotViews().of(open.store);
  const { name } = await commitImage(open, ['a'], 'vm/101', 'anna@pbs');
  assert.equal((await view.group(ns, group))?.owner, 'anna@pbs');
  await open.store.keeping.changeGroup(ns, group, { owner: 'berta@pbs', notes: 'hers' });
  const changed = await view.group(ns, group);
  assert.deepEqual([changed?.owner, changed?.notes], ['berta@pbs', 'hers']);
  await open.store.forget(name);
  await open.store.keeping.releaseGroup(ns, group);
  assert.equal(await view.group(ns, group), undefined);
  await rm(open.store.groups.groupPath(ns, group), { recursive: true });
  assert.equal(await view.group(ns, group), undefined);
});

test('groups come by type, then by number, then by name', async () => {
  for (const name of ['vm/10', 'vm/9', 'vm/a', 'host/z', 'ct/100', 'vm/007']) await commitImage(open, [name], name);
  const names = (await new SnapshotViews().of(open.store).groups(ns)).map((each) => each.name);
  assert.deepEqual(names, ['ct/100', 'host/z', 'vm/9', 'vm/10', 'vm/007', 'vm/a']);
});
