// What alarms look at, of real datastores: the last good snapshot of each group, what was verified when; many groups beside a server that answers
// meanwhile; and datastores that are offline, read-only, damaged, or do not answer.
import assert from 'node:assert/strict';
import { readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { SnapshotViews } from '../../../src/api/snapshots/snapshot-views.ts';
import { type StoreFacts, StoreFactsSource } from '../../../src/daemon/notify/store-facts.ts';
import { Datastores } from '../../../src/daemon/stores.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import { changeLimits } from '../../../src/datastore/limits/limits-file.ts';
import type { SnapshotName } from '../../../src/datastore/snapshots/group-store.ts';
import { parseGroup } from '../../../src/schema/names.ts';
import { StateDatabase } from '../../../src/state/state-database.ts';
import { WorkerPool } from '../../../src/util/worker-pool.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';
import { commitImage, NO_SIGNAL, OpenStore } from '../../support/store.ts';
import { listOver, ROOT } from '../list-fixture.ts';

const DAY = 86_400;
const now = Math.floor(Date.now() / 1000);

function fixture(t: TestContext) {
  const directory = temporaryDirectory(t);
  const state = StateDatabase.open(join(directory, 'state', 'state.db'));
  t.after(() => state.close());
  const datastores = new Datastores({
    list: listOver(state),
    startPool: (workers) => WorkerPool.start(new URL('../../../dist/worker.js', import.meta.url), workers),
    serve: async () => async () => undefined,
    operations: new Map(),
    endWork: async () => true,
    workers: 1,
    warn: () => undefined,
  });
  t.after(() => datastores.close());
  const warnings: string[] = [];
  const options = { warn: (message: string, name: string) => void warnings.push(`${name}: ${message}`) };
  const source = new StoreFactsSource(datastores, options);
  const path = (name: string): string => join(directory, name);
  /** With `fill` of it as a backup would, before a server has it. */
  const add = async (name: string, fill?: (open: OpenStore) => Promise<void>): Promise<Layout> => {
    await datastores.create(ROOT, { name, path: path(name), reuse: false });
    if (fill !== undefined) {
      await datastores.release(name);
      const open = await OpenStore.open(path(name), 1);
      await fill(open);
      await open.close();
    }
    return new Layout(path(name));
  };
  const read = (at = now, verifyDays = 30): Promise<StoreFacts> => source.read(at, verifyDays, NO_SIGNAL);
  return { datastores, source, options, warnings, add, read, path };
}

const byGroup = ({ groups }: StoreFacts) => Object.fromEntries(groups.map((each) => [each.group, each.lastGood]));
const NONE = { ns: '' as never };

test('the last good snapshot is the newest that can be read and has no known damage; the oldest verification counts', async (t) => {
  const { add, read, warnings } = fixture(t);
  const names: Record<string, SnapshotName> = {};
  const layout = await add('main', async (open) => {
    for (const [name, group] of Object.entries({ a1: 'vm/101', a2: 'vm/101', b1: 'vm/102', b2: 'vm/102' }))
      names[name] = (await commitImage(open, [name], group)).name;
  });
  const manifest = (name: string) =>
    join(layout.snapshots, ...String(names[name]?.group).split('/'), label(names[name]), 'manifest.json');
  const session = (name: string): string => JSON.parse(readFileSync(manifest(name), 'utf8')).server.session;
  const prove = (proofs: Record<string, { verifiedMs: number; damaged: boolean }>) => {
    const { store } = JSON.parse(readFileSync(layout.config, 'utf8'));
    const snapshots = Object.fromEntries(Object.entries(proofs).map(([name, proof]) => [session(name), proof]));
    writeFileSync(layout.verifyState, JSON.stringify({ store, packs: {}, snapshots }));
  };
  const verifiedAt = async (later: number, days?: number): Promise<number | undefined> =>
    (await read(now + later, days)).datastores[0]?.oldestVerify;

  assert.deepEqual(byGroup(await read()), { 'vm/101': names.a2?.time, 'vm/102': names.b2?.time });
  assert.equal(await verifiedAt(0), undefined, 'young ones need not be verified yet');
  assert.equal(await verifiedAt(31 * DAY), 0);
  assert.equal(await verifiedAt(31 * DAY, 0), undefined, 'the rule is switched off');
  const at = (seconds: number, damaged = false) => ({ verifiedMs: (now + seconds) * 1000, damaged });
  prove({ a1: at(5), a2: at(6, true), b1: at(3), b2: at(4) });
  assert.deepEqual(byGroup(await read()), { 'vm/101': names.a1?.time, 'vm/102': names.b2?.time });
  assert.equal(await verifiedAt(31 * DAY), now + 3);
  prove({ a1: at(5), a2: at(6), b1: at(3) });
  assert.equal(await verifiedAt(31 * DAY), 0);
  const text = readFileSync(manifest('b2'), 'utf8');
  writeFileSync(manifest('b2'), text.replace('"statistics"', '"statistic"'));
  const { groups } = await read();
  assert.deepEqual(byGroup({ groups } as unknown as StoreFacts), {
    'vm/101': names.a2?.time,
    'vm/102': names.b1?.time,
  });
  assert.ok((groups[0]?.sizeBytes ?? 0) > 2, 'of the good one');
  writeFileSync(manifest('b1'), '');
  assert.equal(byGroup(await read())['vm/102'], undefined);
  assert.deepEqual(warnings, []);
});

test('a group that is held because of an anomaly says what it is until somebody has settled it; its last backup says how long it took', async (t) => {
  const { add, read, datastores } = fixture(t);
  await add('main', async (open) => void (await commitImage(open, ['a'], 'vm/101')));
  const { store } = await datastores.get('main');
  const [group, added] = [parseGroup('vm/101'), { bytesNew: 9 * 1024 ** 3, bytesStored: 9 * 1024 ** 3 }];
  const [before] = (await read()).groups;
  assert.deepEqual([before?.anomaly, before?.durationSeconds], [undefined, 0]);
  const state = await store.groups.state(NONE.ns, group);
  if (state === undefined) throw new Error('no group');
  const usual = { bytesNew: 1024 ** 2, ratio: 0.25 };
  const anomaly = { time: now, added, usual, score: 99, protected: [] };
  await store.groups.writeState(NONE.ns, group, { ...state, anomaly });
  assert.match(
    (await read()).groups[0]?.anomaly ?? '',
    /^added 9.00 GiB at .*Z, where 1.00 MiB are the most .* 25 % are usual$/,
  );
  await store.keeping.clearAnomaly(NONE.ns, group, false);
  assert.equal((await read()).groups[0]?.anomaly, undefined);
});

test('a snapshot that is removed while it is looked at is none that was never verified', async (t) => {
  const { datastores, add, options } = fixture(t);
  let name: SnapshotName | undefined;
  const layout = await add('main', async (open) => {
    ({ name } = await commitImage(open, ['x'], 'vm/101'));
  });
  const views = new SnapshotViews();
  const view = views.of((await datastores.get('main')).store);
  const group = view.group.bind(view);
  view.group = async (...of) => {
    const found = await group(...of);
    rmSync(join(layout.snapshots, 'vm', '101', label(name)), { recursive: true });
    return found;
  };
  const { datastores: facts, unknown } = await new StoreFactsSource(datastores, { ...options, views }).read(
    now + 31 * DAY,
    30,
    NO_SIGNAL,
  );
  assert.deepEqual([facts.map(({ oldestVerify }) => oldestVerify), [...unknown]], [[undefined], []]);
});

test('thousands of groups are read in slices, and none twice that the lists of the API know', async (t) => {
  const { datastores, add, options } = fixture(t);
  const COUNT = 4000;
  let name: SnapshotName | undefined;
  const layout = await add('main', async (open) => {
    ({ name } = await commitImage(open, ['x'], 'vm/1000'));
  });
  const group = join(layout.snapshots, 'vm', '1000');
  for (let n = 1; n < COUNT; n++) symlinkSync(group, join(dirname(group), String(1000 + n)));
  const views = new SnapshotViews();
  const source = new StoreFactsSource(datastores, { ...options, views });
  const read = async (): Promise<void> => {
    let longestMs = 0;
    let before = process.cpuUsage();
    let isOver = false;
    const turn = (): void => {
      // What this process computed between two turns, so that a busy machine makes no difference.
      const { user, system } = process.cpuUsage(before);
      longestMs = Math.max(longestMs, (user + system) / 1000);
      before = process.cpuUsage();
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    const facts = await source.read(now, 30, NO_SIGNAL);
    isOver = true;
    assert.equal(facts.groups.length, COUNT);
    assert.ok(facts.groups.every(({ lastGood }) => lastGood === name?.time));
    assert.ok(longestMs < 90, `${longestMs} ms without a turn of others`);
  };
  // At the last one everything is known, so that nothing but the slices gives others their turn.
  for (let n = 0; n < 3; n++) await read();
  const { store } = await datastores.get('main');
  const manifests = store.groups.manifest.bind(store.groups);
  let opened = 0;
  store.groups.manifest = async (each) => {
    opened++;
    return await manifests(each);
  };
  const row = await views.of(store).row({ ...NONE, group: parseGroup('vm/1500'), time: name?.time ?? 0 });
  assert.ok(row);
  assert.equal(opened, 0, 'the list finds what the alarms have read');
});

test('a datastore that is offline, not there or damaged is unknown, and keeps nothing of the others away', async (t) => {
  const { add, read, warnings, path } = fixture(t);
  const fill = async (open: OpenStore): Promise<void> => {
    await commitImage(open, ['x'], 'vm/101');
    await commitImage(open, ['x'], 'vm/102');
  };
  const offline = await add('a-offline', fill);
  const damaged = await add('b-damaged', fill);
  await add('c-absent', fill);
  const readonly = await add('d-readonly', fill);
  await changeLimits(offline, (each) => ({ ...each, maintenance: { mode: 'offline', message: 'new disk' } }));
  await changeLimits(readonly, (each) => ({ ...each, maintenance: { mode: 'read-only', message: '' } }));
  writeFileSync(join(damaged.snapshots, 'vm', '101', 'group.json'), 'no JSON');
  writeFileSync(damaged.accounting, 'no JSON');
  writeFileSync(damaged.verifyState, 'no JSON');
  renameSync(path('c-absent'), path('elsewhere'));
  const facts = await read();
  assert.deepEqual([...facts.unknown], ['a-offline', 'b-damaged', 'c-absent']);
  assert.deepEqual(
    facts.groups.map(({ datastore, group }) => `${datastore} ${group}`),
    ['b-damaged vm/102', 'd-readonly vm/101', 'd-readonly vm/102'],
  );
  assert.deepEqual(
    facts.datastores.map(({ name }) => name),
    ['b-damaged', 'd-readonly'],
  );
  assert.equal(warnings.length, 2, warnings.join('\n'));
  assert.match(warnings[0] ?? '', /^b-damaged: .*vm\/101.*group\.json is damaged/);
  assert.match(warnings[1] ?? '', /^c-absent: /);
  await read();
  assert.equal(warnings.length, 2, 'it is said once');
});

test('a datastore that does not answer is unknown after a while, asked once, and holds up no other', async (t) => {
  const { add, datastores, warnings } = fixture(t);
  await add('fine', async (open) => void (await commitImage(open, ['x'])));
  await add('hangs');
  let asked = 0;
  const slow = new StoreFactsSource(
    {
      list: () => [...datastores.list()].reverse(),
      get: async (name) => {
        if (name === 'fine') return await datastores.get(name);
        asked++;
        return await new Promise(() => undefined);
      },
    },
    { warn: (message, name) => void warnings.push(`${name}: ${message}`), patienceMs: 2000 },
  );
  for (let round = 0; round < 2; round++) {
    const facts = await slow.read(now, 30, NO_SIGNAL);
    assert.deepEqual([[...facts.unknown], facts.groups.length], [['hangs'], 1]);
  }
  assert.equal(asked, 1);
  assert.match(warnings.join(), /^hangs: .*does not answer$/);
  const reason = new Error('the server is stopping');
  const startedMs = performance.now();
  const ended = new AbortController();
  setTimeout(() => ended.abort(reason), 50);
  await assert.rejects(slow.read(now, 30, ended.signal), (error) => error === reason);
  assert.ok(performance.now() - startedMs < 1500);
});

function label(name: SnapshotName | undefined): string {
  return new Date((name?.time ?? 0) * 1000).toISOString().replace('.000Z', 'Z');
}
