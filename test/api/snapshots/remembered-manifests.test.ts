// Manifests that are kept: what is told is always what stands in the file.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { RememberedManifests } from '../../../src/api/snapshots/remembered-manifests.ts';
import { GroupStore, type SnapshotName } from '../../../src/datastore/snapshots/group-store.ts';
import { type Namespace, parseGroup } from '../../../src/schema/names.ts';
import { DurableDirectories } from '../../../src/util/durable-directories.ts';
import { Store } from '../../datastore/fixture.ts';
import { clientPart, serverPart } from '../../datastore/snapshots/manifests.ts';

const group = parseGroup('vm/101');
const nameOf = (time: number): SnapshotName => ({ ns: '' as Namespace, group, time });

async function setUp(t: Parameters<typeof Store.create>[0], count: number, maxKept?: number) {
  const { layout } = await Store.create(t);
  const groups = new GroupStore(layout, new DurableDirectories(layout.root));
  for (let time = 1; time <= count; time++) {
    const prepared = await groups.prepare(nameOf(time), { client: clientPart(), server: serverPart(time, time) });
    prepared.publish();
    await prepared.sync();
  }
  let reads = 0;
  const counted = {
    manifestPath: (name: SnapshotName) => groups.manifestPath(name),
    manifest: (name: SnapshotName) => {
      reads++;
      return groups.manifest(name);
    },
    times: groups.times.bind(groups),
    groups: groups.groups.bind(groups),
    namespaces: groups.namespaces.bind(groups),
    state: groups.state.bind(groups),
  };
  return { groups, remembered: new RememberedManifests(counted, maxKept), reads: () => reads };
}

test('a manifest is read once, and again when it was changed, replaced or removed', async (t) => {
  const { groups, remembered, reads } = await setUp(t, 1);
  const name = nameOf(1);
  for (let time = 0; time < 3; time++)
    assert.equal((await remembered.manifest(name))?.server.notes, serverPart(1, 1).notes);
  assert.equal(reads(), 1);
  await groups.rewrite(name, { client: clientPart(), server: { ...serverPart(1, 1), notes: 'new' } });
  assert.equal((await remembered.manifest(name))?.server.notes, 'new');
  assert.equal(reads(), 2);
  const path = groups.manifestPath(name);
  writeFileSync(path, readFileSync(path, 'utf8').replace('new', 'bad'));
  await assert.rejects(remembered.manifest(name), { code: 'manifest-altered' });
  rmSync(path);
  assert.equal(await remembered.manifest(name), undefined);
});

test('what was not asked for longest is read again when there are too many', async (t) => {
  const { remembered, reads } = await setUp(t, 3, 2);
  for (const time of [1, 2, 1, 3, 1]) assert.equal((await remembered.manifest(nameOf(time)))?.server.sequence, time);
  assert.equal(reads(), 3);
  await remembered.manifest(nameOf(2));
  assert.equal(reads(), 4);
});
