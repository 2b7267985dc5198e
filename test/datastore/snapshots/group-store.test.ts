import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { GroupStore, type SnapshotName, snapshotLabel } from '../../../src/datastore/snapshots/group-store.ts';
import {
  formatTime,
  type GroupName,
  type Namespace,
  parseGroup,
  parseNamespace,
  parseTime,
} from '../../../src/schema/names.ts';
import { DurableDirectories } from '../../../src/util/durable-directories.ts';
import { Store } from '../fixture.ts';
import { clientPart, serverPart } from './manifests.ts';

const ROOT = '' as Namespace;
const group = parseGroup('vm/101');
const time = (day: number) => parseTime(`2026-11-${String(day).padStart(2, '0')}T02:00:00Z`);

async function setUp(
  t: TestContext,
): Promise<{ store: Store; groups: GroupStore; commit: (name: SnapshotName, sequence?: number) => Promise<void> }> {
  const store = await Store.create(t);
  const groups = new GroupStore(store.layout, new DurableDirectories(store.layout.root));
  const commit = async (name: SnapshotName, sequence = 1) => {
    const prepared = await groups.prepare(name, { client: clientPart(), server: serverPart(sequence, name.time) });
    prepared.publish();
    await prepared.sync();
  };
  return { store, groups, commit };
}

test('paths are those of docs/format.md', async (t) => {
  const { store, groups } = await setUp(t);
  const name = { ns: parseNamespace('ns/b'), group, time: time(20) };
  assert.equal(
    groups.manifestPath(name),
    join(store.layout.root, 'snapshots/ns/ns/ns/b/vm/101/2026-11-20T02:00:00Z/manifest.json'),
  );
  assert.equal(groups.groupPath(ROOT, group), join(store.layout.root, 'snapshots/vm/101'));
  assert.equal(snapshotLabel(name), 'vm/101/2026-11-20T02:00:00Z');
});

test('a snapshot exists from its rename on, and not before', async (t) => {
  const { groups } = await setUp(t);
  const name = { ns: ROOT, group, time: time(20) };
  assert.deepEqual(await groups.times(ROOT, group), []);
  assert.equal(await groups.manifest(name), undefined);
  const prepared = await groups.prepare(name, { client: clientPart(), server: serverPart() });
  assert.deepEqual(await groups.times(ROOT, group), []);
  assert.equal(await groups.manifest(name), undefined);
  prepared.publish();
  await prepared.sync();
  assert.deepEqual(await groups.times(ROOT, group), [name.time]);
  assert.deepEqual((await groups.manifest(name))?.server, serverPart());
  await groups.rewrite(name, { client: clientPart(), server: { ...serverPart(), notes: 'new' } });
  assert.equal((await groups.manifest(name))?.server.notes, 'new');
});

test('a commit that failed is taken back, prepared or published', async (t) => {
  const { groups } = await setUp(t);
  const name = { ns: ROOT, group, time: time(20) };
  for (const publish of [false, true]) {
    const prepared = await groups.prepare(name, { client: clientPart(), server: serverPart() });
    if (publish) prepared.publish();
    await prepared.withdraw();
    assert.equal(await groups.manifest(name), undefined);
    assert.ok(!existsSync(dirname(prepared.path)));
  }
  await prepareAndLeave(groups, name);
  await prepareAndLeave(groups, { ...name, time: time(21) });
  assert.ok(!existsSync(dirname(groups.manifestPath(name))), 'what a crash left is tidied by the next commit');
});

async function prepareAndLeave(groups: GroupStore, name: SnapshotName): Promise<void> {
  await groups.prepare(name, { client: clientPart(), server: serverPart() });
}

test('listing: oldest label first, groups and namespaces by name', async (t) => {
  const { groups, commit } = await setUp(t);
  for (const day of [20, 3, 11]) await commit({ ns: ROOT, group, time: time(day) });
  await commit({ ns: ROOT, group: parseGroup('ct/b'), time: time(1) });
  await commit({ ns: ROOT, group: parseGroup('ct/a'), time: time(1) });
  await commit({ ns: ROOT, group: parseGroup('host/z'), time: time(1) });
  await commit({ ns: parseNamespace('office/site'), group: parseGroup('vm/7'), time: time(1) });
  assert.deepEqual(await groups.times(ROOT, group), [3, 11, 20].map(time));
  assert.deepEqual(await groups.groups(ROOT), ['vm/101', 'ct/a', 'ct/b', 'host/z']);
  assert.deepEqual(await groups.groups(parseNamespace('office')), []);
  assert.deepEqual(await groups.groups(parseNamespace('office/site')), ['vm/7']);
  assert.deepEqual(await groups.namespaces(), ['', 'office', 'office/site']);
  assert.deepEqual(await groups.namespaces(parseNamespace('office')), ['office', 'office/site']);
  assert.deepEqual(await groups.namespaces(parseNamespace('nowhere')), ['nowhere']);
});

test('a group of many labels is read between other work', async (t) => {
  const { groups } = await setUp(t);
  const path = groups.groupPath(ROOT, group);
  mkdirSync(path, { recursive: true });
  for (let count = 0; count < 4000; count++) mkdirSync(join(path, formatTime(time(1) + count)));
  const shares: number[] = [];
  for (let round = 0; round < 5; round++) shares.push(await longestShare(() => groups.labels(ROOT, group)));
  // 0.11 as it is; 0.31 where all names are looked at before the first pause.
  assert.ok(Math.min(...shares) < 0.22, `the longest block is ${Math.min(...shares)} of the whole`);
});

/** The longest time in which nothing else had its turn, as a share of all that the work took. */
async function longestShare(work: () => Promise<unknown>): Promise<number> {
  let isOver = false;
  let longestMs = 0;
  const startedMs = performance.now();
  let lastMs = startedMs;
  const look = (): void => {
    const now = performance.now();
    longestMs = Math.max(longestMs, now - lastMs);
    lastMs = now;
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  await work();
  isOver = true;
  look();
  return longestMs / (performance.now() - startedMs);
}

test('what does not belong there is passed over: one stray name must not hide every snapshot', async (t) => {
  const { store, groups, commit } = await setUp(t);
  await commit({ ns: ROOT, group, time: time(20) });
  const base = store.layout.snapshots;
  mkdirSync(join(base, 'ns', 'a'), { recursive: true });
  for (const name of ['.DS_Store', 'lost+found', 'with space', '-x', 'ä']) {
    for (const place of ['', 'vm', 'ns', 'vm/101']) mkdirSync(join(base, place, name), { recursive: true });
  }
  for (const place of ['vm/notes.txt', 'ns/.hidden', 'vm/101/readme', 'stray']) writeFileSync(join(base, place), 'x');
  for (const label of ['2026-13-45T99:99:99Z', '2026-02-30T00:00:00Z', '2026-11-21T02:00:00Z', '2026-11-22']) {
    mkdirSync(join(base, 'vm/101', label));
    if (!label.startsWith('2026-11-21')) writeFileSync(join(base, 'vm/101', label, 'manifest.json'), '{}');
  }
  assert.deepEqual(await groups.times(ROOT, group), [time(20)]);
  const found = await groups.groups(ROOT);
  assert.ok(found.includes(group) && found.every((name) => parseGroup(name) === name));
  assert.deepEqual(await groups.namespaces(), ['', 'a']);
  await commit({ ns: ROOT, group, time: time(23) }, 2);
  assert.ok(existsSync(join(base, 'vm/101/2026-02-30T00:00:00Z/manifest.json')), 'nothing of somebody else is removed');
});

test('removing: the snapshot is gone, and its empty directory; the marks stay (rule D8)', async (t) => {
  const { groups, commit } = await setUp(t);
  const name = { ns: ROOT, group, time: time(20) };
  const state = { format: 1 as const, owner: 'root', lastSequence: 1, lastTime: name.time };
  await groups.writeState(ROOT, group, state);
  await commit(name);
  await groups.remove(name);
  assert.deepEqual(await groups.times(ROOT, group), []);
  assert.deepEqual(readdirSync(groups.groupPath(ROOT, group)), ['group.json']);
  assert.deepEqual(await groups.state(ROOT, group), state);
  await assert.rejects(groups.remove(name), { code: 'not-found', message: /vm\/101\/2026-11-20T02:00:00Z/ });
  await commit(name, 2);
  assert.equal((await groups.manifest(name))?.server.sequence, 2, 'the same label again, in the directory made anew');
});

test('removing beside commits of the same group, which tidy up: both succeed, whoever removes the directory', async (t) => {
  const { groups, commit } = await setUp(t);
  for (let round = 0; round < 60; round++) {
    const [old, made] = [1, 2].map((second) => ({ ns: ROOT, group, time: time(20) + round * 2 + second })) as [
      SnapshotName,
      SnapshotName,
    ];
    await commit(old);
    await Promise.all([groups.remove(old), commit(made), groups.syncRemovals(ROOT, group)]);
    assert.deepEqual(await groups.times(ROOT, group), [made.time]);
    await groups.remove(made);
  }
});

test('removing keeps what else lies in the directory, and is still a removal', async (t) => {
  const { groups, commit } = await setUp(t);
  const name = { ns: ROOT, group, time: time(20) };
  await commit(name);
  writeFileSync(join(dirname(groups.manifestPath(name)), 'note.txt'), 'mine');
  await groups.remove(name);
  assert.deepEqual(await groups.times(ROOT, group), []);
  assert.ok(existsSync(join(dirname(groups.manifestPath(name)), 'note.txt')));
});

test('owner and marks of a group', async (t) => {
  const { store, groups } = await setUp(t);
  assert.equal(await groups.state(ROOT, group), undefined);
  const state = { format: 1 as const, owner: 'root', lastSequence: 7, lastTime: time(20), later: 'kept' };
  await groups.writeState(ROOT, group, state);
  assert.deepEqual(await groups.state(ROOT, group), state);
  const path = join(store.layout.snapshots, 'vm/101/group.json');
  assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), state);
  for (const text of ['', '{}', '{"format":1,"owner":"x","lastSequence":-1,"lastTime":0}']) {
    writeFileSync(path, text);
    await assert.rejects(groups.state(ROOT, group), /JSON|member/);
  }
});

test('every name in a path was checked before: the store joins what it is given', async (t) => {
  const { store, groups } = await setUp(t);
  assert.ok(groups.groupPath(ROOT, 'vm/x' as GroupName).startsWith(store.layout.snapshots));
  assert.throws(() => groups.groupPath(ROOT, parseGroup('vm/../..')), { code: 'bad-name' });
});
