// Groups and manifests that are kept: what is told is always what stands in the files.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { RememberedGroups } from '../../../src/api/snapshots/remembered-groups.ts';
import { GroupStore, type SnapshotName } from '../../../src/datastore/snapshots/group-store.ts';
import { type Namespace, parseGroup } from '../../../src/schema/names.ts';
import { DurableDirectories } from '../../../src/util/durable-directories.ts';
import { Store } from '../../datastore/fixture.ts';
import { clientPart, serverPart } from '../../datastore/snapshots/manifests.ts';

const ns = '' as Namespace;
const group = parseGroup('vm/101');
const nameOf = (time: number): SnapshotName => ({ ns, group, time });

async function setUp(t: Parameters<typeof Store.create>[0], count: number, maxManifestBytes?: number) {
  const { layout } = await Store.create(t);
  const groups = new GroupStore(layout, new DurableDirectories(layout.root));
  await groups.writeState(ns, group, { format: 1, owner: 'anna@pbs', lastSequence: count, lastTime: count });
  for (let time = 1; time <= count; time++) await publish(groups, time);
  const asked: Record<string, number> = {};
  const counted = new Proxy(groups, {
    get(target, name) {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== 'function') return member;
      return (...given: unknown[]) => {
        asked[String(name)] = (asked[String(name)] ?? 0) + 1;
        return (member as (...all: unknown[]) => unknown).apply(target, given);
      };
    },
  });
  return { groups, remembered: new RememberedGroups(counted, maxManifestBytes), asked };
}

async function publish(groups: GroupStore, time: number): Promise<void> {
  const prepared = await groups.prepare(nameOf(time), { client: clientPart(), server: serverPart(time, time) });
  prepared.publish();
  await prepared.sync();
}

/** As if nothing had changed for long. */
function age(groups: GroupStore): void {
  const longAgo = new Date(Date.now() - 3_600_000);
  utimesSync(groups.groupPath(ns, group), longAgo, longAgo);
}

test('a manifest is read once, and again when it was changed, replaced or removed', async (t) => {
  const { groups, remembered, asked } = await setUp(t, 1);
  const name = nameOf(1);
  for (let time = 0; time < 3; time++)
    assert.equal((await remembered.manifest(name))?.server.notes, serverPart(1, 1).notes);
  assert.equal(asked.manifest, 1);
  await groups.rewrite(name, { client: clientPart(), server: { ...serverPart(1, 1), notes: 'new' } });
  assert.equal((await remembered.manifest(name))?.server.notes, 'new');
  assert.equal(asked.manifest, 2);
  const path = groups.manifestPath(name);
  writeFileSync(path, readFileSync(path, 'utf8').replace('new', 'bad'));
  await assert.rejects(remembered.manifest(name), { code: 'manifest-altered' });
  rmSync(path);
  assert.equal(await remembered.manifest(name), undefined);
});

test('the manifest that was not asked for longest is read again when there are too many', async (t) => {
  const { remembered, asked, groups } = await setUp(t, 3);
  const bytes = readFileSync(groups.manifestPath(nameOf(1))).length;
  const few = (await setUp(t, 3, 2 * bytes + 10)) as { remembered: RememberedGroups; asked: Record<string, number> };
  for (const time of [1, 2, 1, 3, 1]) {
    assert.equal((await remembered.manifest(nameOf(time)))?.server.sequence, time);
    assert.equal((await few.remembered.manifest(nameOf(time)))?.server.sequence, time);
  }
  await remembered.manifest(nameOf(2));
  await few.remembered.manifest(nameOf(2));
  assert.deepEqual([asked.manifest, few.asked.manifest], [3, 4]);
});

test('labels and owner of a group that rests are read once, and again when anything in it changed', async (t) => {
  const { groups, remembered, asked } = await setUp(t, 2);
  age(groups);
  for (let turn = 0; turn < 3; turn++) {
    assert.deepEqual(await remembered.times(ns, group), [1, 2]);
    assert.equal((await remembered.state(ns, group))?.owner, 'anna@pbs');
  }
  assert.deepEqual([asked.labels, asked.state], [1, 1]);
  await publish(groups, 3);
  assert.deepEqual(await remembered.times(ns, group), [1, 2, 3]);
  age(groups);
  assert.deepEqual(await remembered.times(ns, group), [1, 2, 3]);
  await groups.remove(nameOf(1));
  assert.deepEqual(await remembered.times(ns, group), [2, 3]);
  const state = { format: 1, owner: 'berta@pbs', lastSequence: 3, lastTime: 3 } as const;
  await groups.writeState(ns, group, state);
  assert.equal((await remembered.state(ns, group))?.owner, 'berta@pbs');
});

test('whoever sorts or reverses the labels of a question changes no other', async (t) => {
  const { groups, remembered } = await setUp(t, 2);
  age(groups);
  (await remembered.times(ns, group)).reverse();
  assert.deepEqual(await remembered.times(ns, group), [1, 2]);
});

test('a group that is not there has neither labels nor an owner', async (t) => {
  const { remembered } = await setUp(t, 1);
  const other = parseGroup('vm/999');
  assert.deepEqual([await remembered.times(ns, other), await remembered.state(ns, other)], [[], undefined]);
});
