// A group whose snapshot adds far more than usual, in a real store: held before the snapshot is there, not pruned, its last snapshots protected,
// until somebody has looked.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { deriveDataKey } from '../../../src/chunker/data-key.ts';
import { listAnomalies } from '../../../src/datastore/anomaly/anomalies-query.ts';
import { clearAnomaly } from '../../../src/datastore/anomaly/clear-anomaly.ts';
import { describeAnomaly } from '../../../src/datastore/anomaly/describe-anomaly.ts';
import { type HeldState, settled, watched } from '../../../src/datastore/anomaly/watch-commit.ts';
import { changeLimits } from '../../../src/datastore/limits/limits-file.ts';
import { planPrune } from '../../../src/datastore/prune/plan.ts';
import { removalsOf, removePruned } from '../../../src/datastore/prune/prune-operation.ts';
import type { CommitResult } from '../../../src/datastore/sessions/session-commit.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import type { AddedBytes, Anomaly } from '../../../src/schema/state-files.ts';
import {
  clientPart,
  commitImage,
  createTemporaryStore,
  NO_SIGNAL,
  OpenStore,
  OWNER,
  putData,
  putImage,
  putPage,
} from '../../support/store.ts';

const MIB = 1024 * 1024;
const ROOT = parseNamespace('');
const group = parseGroup('vm/101');
const QUIET: AddedBytes = { bytesNew: 20 * MIB, bytesStored: 2 * MIB };
const WORK = { signal: NO_SIGNAL, onProgress: () => {}, warn: () => {} };
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

/** A snapshot with so many MiB that nothing compresses, on top of another. */
async function night(mib: number, { isInterrupted = false, isBaseHidden = false } = {}): Promise<CommitResult> {
  const state = await open.store.groups.state(ROOT, group);
  const pieces: { id: Awaited<ReturnType<typeof putData>>; length: number }[] = [];
  let session = await open.session();
  for (let n = 0; n < mib; n++) pieces.push({ id: await putData(open, session, randomBytes(MIB)), length: MIB });
  pieces.push({ id: await putData(open, session, `night ${state?.lastSequence}`), length: 0 });
  const page = await putPage(session, pieces.slice(0, 8));
  const image = await putImage(session, page, Math.min(mib, 8) * MIB);
  if (isInterrupted) {
    await session.suspend();
    session = await open.session();
    for (const { id } of pieces) await session.get(id);
  }
  const base = state === undefined || isBaseHidden ? null : { snapshot: 'the last', sequence: state.lastSequence };
  return await session.commit({ ...clientPart(image, Math.min(mib, 8) * MIB), base }, undefined, NO_SIGNAL);
}

/** A full backup and four more, and a fortnight of memories of quiet nights. */
async function usualNights(): Promise<void> {
  for (let n = 0; n < 5; n++) await night(1);
  await remember(Array.from({ length: 14 }, () => QUIET));
}

async function remember(snapshots: readonly AddedBytes[]): Promise<void> {
  const state = await open.store.groups.state(ROOT, group);
  if (state === undefined) throw new Error('no group');
  await open.store.groups.writeState(ROOT, group, { ...state, added: { space: 0, snapshots: [...snapshots] } });
}

const stateOf = async () => await open.store.groups.state(ROOT, group);
const times = async () => await open.store.groups.times(ROOT, group);
async function protectedTimes(): Promise<number[]> {
  const all = await times();
  const manifests = await Promise.all(all.map((time) => open.store.groups.manifest({ ns: ROOT, group, time })));
  return all.filter((_, n) => manifests[n]?.server.protected);
}
const plan = async (keep: number) =>
  await planPrune(
    open.store.groups,
    { ns: ROOT, groups: [group], counts: { 'keep-last': keep }, clockMs: 0 },
    NO_SIGNAL,
  );
const clear = async (wasAttack: boolean) => await clearAnomaly.run(open.store, { ns: ROOT, group, wasAttack }, WORK);
/** 70 MiB: twice what counts at least, and compression leaves five times as much as usual. */
const ATTACK_MIB = 70;

test('what each snapshot added is remembered, the last fourteen of them', async () => {
  await night(3);
  const first = (await stateOf())?.added;
  assert.equal(first?.space, 0);
  assert.equal(first?.snapshots[0]?.isFull, true);
  const { bytesNew = 0, bytesStored = 0 } = first?.snapshots[0] ?? {};
  assert.ok(bytesNew >= 3 * MIB && bytesNew < 3.2 * MIB, String(bytesNew));
  assert.ok(bytesStored >= 3 * MIB && bytesStored < 3.2 * MIB, String(bytesStored));
  for (let n = 0; n < 15; n++) await night(0);
  const last = (await stateOf())?.added?.snapshots ?? [];
  assert.equal(last.length, 14);
  assert.ok(last.every(({ isFull, bytesNew: bytes }) => isFull === undefined && bytes < MIB));
});

test('an anomaly holds the group: nothing of it is pruned, and the last snapshots before it cannot be forgotten', async () => {
  await usualNights();
  const before = await times();
  const { warnings, name } = await night(ATTACK_MIB);
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0] ?? '',
    /^vm\/101 added 70\.\d MiB at .*Z, where 32\.0 MiB are the most that is usual; compression leaves 100 % of it, where 20 % are usual: it is not pruned .* holdfast anomaly clear vm\/101$/,
  );
  assert.deepEqual(await protectedTimes(), before.slice(-3));
  const { groups, warnings: said } = await plan(1);
  const rules = groups[0]?.snapshots.map(({ rule }) => rule);
  assert.deepEqual(rules, ['anomaly', 'anomaly', 'protected', 'protected', 'protected', 'keep-last']);
  assert.match(
    said.join(),
    /^vm\/101 added far more than usual at [^;]*: it is not .* holdfast anomaly clear vm\/101$/,
  );
  for (const time of before.slice(-3))
    await assert.rejects(open.store.forget({ ns: ROOT, group, time }), { code: 'protected' });
  const [row, ...others] = await listAnomalies.run(
    { ...open.store, groups: open.store.groups, seesSizes: true } as never,
    { ns: ROOT },
    NO_SIGNAL,
  );
  assert.deepEqual(
    [row?.group, row?.time, row?.protected, others.length],
    [group, name.time, before.slice(-3).reverse(), 0],
  );
});

test('a plan that was made before the anomaly removes nothing after it', async () => {
  await usualNights();
  const { groups, warnings } = await plan(1);
  await night(ATTACK_MIB);
  const [request] = removalsOf(ROOT, { groups, warnings });
  if (request === undefined) throw new Error('nothing to remove');
  const { removed, kept } = await removePruned.run(open.store, request, WORK);
  assert.equal(removed, 0);
  assert.deepEqual(new Set(kept.map(({ rule }) => rule)), new Set(['anomaly']));
  assert.equal((await times()).length, 6);
});

test('a prune that begins while a commit makes the hold waits for it, and removes nothing', async () => {
  await usualNights();
  const request = { ns: ROOT, groups: [{ group, times: (await times()).slice(0, 2) }] };
  const { groups } = open.store;
  let pruning: ReturnType<typeof removePruned.run> | undefined;
  const { writeState } = groups;
  groups.writeState = async (...state) => {
    // In the turn of the roots, and the hold is not there yet.
    pruning ??= removePruned.run(open.store, request, WORK);
    await setTimeout(50);
    await writeState.apply(groups, state);
  };
  await night(ATTACK_MIB);
  groups.writeState = writeState;
  const { removed, kept } = (await pruning) ?? {};
  assert.deepEqual([removed, kept?.map(({ rule }) => rule)], [0, ['anomaly', 'anomaly']]);
  assert.equal((await times()).length, 6);
});

test('while it is held its owner takes no protection from what is older than the anomaly; who may settle it does', async () => {
  await usualNights();
  const [oldest = 0, ...others] = await times();
  const change = async (time: number, mayClear: boolean, wish: { protected?: boolean; notes?: string }) =>
    await open.store.updateSnapshot({ ns: ROOT, group, time }, wish, mayClear);
  const last = others.at(-1) ?? 0;
  for (const time of [oldest, last]) await change(time, false, { protected: true });
  const { name } = await night(ATTACK_MIB);
  // The last one its owner had protected: the hold has counted on that.
  for (const time of [oldest, ...others.slice(-3)])
    await assert.rejects(change(time, false, { protected: false }), {
      code: 'protected',
      message: /stays protected while vm\/101 is held .* Datastore\.Modify .* holdfast anomaly clear vm\/101$/,
    });
  assert.equal((await protectedTimes()).length, 4);
  await change(last, false, { notes: 'seen', protected: true });
  await change(name.time, false, { protected: true });
  await change(name.time, false, { protected: false });
  await change(last, true, { protected: false });
  await clear(true);
  await change(oldest, false, { protected: false });
  assert.deepEqual(await protectedTimes(), others.slice(-3, -1));
});

test('the hold is durable before the snapshot is there', async () => {
  await usualNights();
  const { groups } = open.store;
  const prepare = groups.prepare.bind(groups);
  const seen: (number | undefined)[] = [];
  groups.prepare = async () => {
    seen.push((await stateOf())?.anomaly?.protected.length, (await protectedTimes()).length);
    throw new Error('the power fails');
  };
  await assert.rejects(night(ATTACK_MIB), /the power fails/);
  assert.deepEqual(seen, [3, 3]);
  groups.prepare = prepare;
  await open.crash();
  open = await OpenStore.open(root, 1);
  assert.equal((await protectedTimes()).length, 3);
  assert.equal((await plan(1)).groups[0]?.snapshots.filter(({ keep }) => !keep).length, 0);
});

test('while it is held nothing more is judged, and each backup says so', async () => {
  await usualNights();
  const { name } = await night(ATTACK_MIB);
  const { warnings } = await night(2 * ATTACK_MIB);
  assert.match(warnings.join(), /vm\/101 added far more than usual/);
  assert.equal((await stateOf())?.anomaly?.time, name.time);
});

test('somebody has looked and all is well: it is pruned again, and so much is usual from now on', async () => {
  // So that twice the largest but one is enough to see whether it counts twice.
  await changeLimits(open.store.layout, (limits) => ({ ...limits, anomalyFactor: 5 }));
  await usualNights();
  await night(ATTACK_MIB);
  const { unprotected } = await clear(false);
  assert.equal(unprotected.length, 3);
  assert.deepEqual([(await stateOf())?.anomaly, await protectedTimes()], [undefined, []]);
  assert.equal((await plan(1)).groups[0]?.snapshots.filter(({ keep }) => !keep).length, 5);
  assert.deepEqual((await night(ATTACK_MIB)).warnings, []);
  await assert.rejects(clear(false), { code: 'not-found' });
});

test('it was an attack: what was protected stays so, and as much again is an anomaly again', async () => {
  await usualNights();
  await night(ATTACK_MIB);
  assert.deepEqual((await clear(true)).unprotected, []);
  assert.equal((await protectedTimes()).length, 3);
  assert.deepEqual((await stateOf())?.added?.snapshots, Array(14).fill(QUIET));
  assert.equal((await night(ATTACK_MIB)).warnings.length, 1);
});

test('an attack that goes on while the group is held does not become usual', async () => {
  await usualNights();
  for (let n = 0; n < 3; n++) await night(ATTACK_MIB);
  await clear(true);
  assert.equal((await night(ATTACK_MIB)).warnings.length, 1);
});

test('what the hold could not protect, because the power failed, is protected when it was an attack', async () => {
  await usualNights();
  const before = await times();
  const { groups } = open.store;
  groups.rewrite = async () => {
    throw new Error('the power fails');
  };
  const { warnings } = await night(ATTACK_MIB);
  assert.match(warnings.join(), /could not be protected: the power fails/);
  await open.close();
  open = await OpenStore.open(root, 1);
  assert.deepEqual(await protectedTimes(), []);
  assert.deepEqual((await clear(true)).unprotected, []);
  assert.deepEqual(await protectedTimes(), before.slice(-3));
});

test('a client that never names a base is judged all the same', async () => {
  await changeLimits(open.store.layout, (limits) => ({ ...limits, anomalyFactor: 2 }));
  await night(1);
  for (let n = 0; n < 5; n++) await night(0, { isBaseHidden: true });
  assert.equal((await night(ATTACK_MIB, { isBaseHidden: true })).warnings.length, 1);
});

test('what was protected before stays so when the anomaly is settled', async () => {
  await usualNights();
  const [time = 0] = (await times()).slice(-1);
  await open.store.updateSnapshot({ ns: ROOT, group, time }, { protected: true }, true);
  await night(ATTACK_MIB);
  assert.equal((await protectedTimes()).length, 3);
  assert.equal((await clear(false)).unprotected.length, 2);
  assert.deepEqual(await protectedTimes(), [time]);
});

const MARKS = { format: 1, owner: 'root@pam', lastSequence: 9, lastTime: 9 } as const;
const LARGE = { bytesNew: 900 * MIB, bytesStored: 900 * MIB, bytesLogical: 900 * MIB };
const memoryOf = (space: number, count = 14) => ({ space, snapshots: Array.from({ length: count }, () => QUIET) });

test('a key that a group has not had is an anomaly of its own: all is new with it, so that nothing else would tell', () => {
  const before = { ...MARKS, added: memoryOf(1) };
  const small = { bytesNew: 1, bytesStored: 1, bytesLogical: 1, isFull: true };
  for (const added of [{ ...LARGE, isFull: true }, small]) {
    const { anomaly, added: remembered } = watched(before, { time: 10, space: 2, added }, 10);
    assert.deepEqual([anomaly?.cause, anomaly?.space, anomaly?.time], ['key', 2, 10]);
    assert.deepEqual(remembered, before.added, 'nothing is learned of it');
  }
  const held = watched(before, { time: 10, space: 2, added: small }, 10);
  const words = (seesSizes: boolean) => describeAnomaly(held.anomaly as Anomaly, seesSizes);
  assert.equal(
    words(true),
    'was backed up with a key that it has not had before at 1970-01-01T00:00:10Z, which added 1 B',
  );
  assert.equal(words(false), 'was backed up with a key that it has not had before at 1970-01-01T00:00:10Z');
  const plain = watched(before, { time: 10, space: 0, added: small }, 10);
  assert.match(describeAnomaly(plain.anomaly as Anomaly, false), /^was backed up without its key at /);
  assert.equal(
    watched(before, { time: 10, space: 2, added: small }, 0).anomaly,
    undefined,
    'nobody wants to hear of it',
  );
  const few = { ...MARKS, added: memoryOf(1, 4) };
  assert.equal(watched(few, { time: 10, space: 2, added: small }, 10).anomaly, undefined, 'it is being set up');
});

test('a small backup with another key holds the group; accepted, both keys are its own', async () => {
  const key = deriveDataKey(Buffer.alloc(32, 1));
  await usualNights();
  const before = await times();
  const { warnings } = await commitImage(open, ['one'], 'vm/101', OWNER, key);
  assert.match(warnings.join(), /^vm\/101 was backed up with a key that it has not had before at .*: it is not pruned/);
  assert.deepEqual(await protectedTimes(), before.slice(-3));
  assert.equal((await plan(1)).groups[0]?.snapshots.filter(({ keep }) => !keep).length, 0);
  await clear(false);
  for (const again of [() => commitImage(open, ['two'], 'vm/101', OWNER, key), () => night(1)])
    assert.deepEqual((await again()).warnings, []);
  const { added, addedBefore } = (await stateOf()) ?? {};
  assert.deepEqual([added?.space, added?.snapshots.length, addedBefore?.[0]?.snapshots.length], [0, 14, 2]);
  assert.equal((await night(ATTACK_MIB)).warnings.length, 1, 'what was usual is known still');
});

test('a key that was accepted is one of the group, what is usual with each is known still; after an attack it is not', () => {
  const before = { ...MARKS, added: memoryOf(1) };
  const full = { ...LARGE, isFull: true };
  const held = watched(before, { time: 10, space: 2, added: full }, 10) as HeldState;
  assert.deepEqual(settled(held, true), before);
  assert.equal(watched(settled(held, true), { time: 11, space: 2, added: full }, 10).anomaly?.cause, 'key');
  const accepted = settled(held, false);
  const { bytesNew, bytesStored } = LARGE;
  assert.deepEqual(accepted.added, { space: 2, snapshots: [{ bytesNew, bytesStored, isFull: true }] });
  assert.deepEqual(accepted.addedBefore, [memoryOf(1)]);
  const next = watched(accepted, { time: 11, space: 2, added: { ...QUIET, bytesLogical: 9 } }, 10);
  assert.deepEqual([next.anomaly, next.added?.snapshots.length], [undefined, 2]);
  const back = watched(next, { time: 12, space: 1, added: { ...LARGE, isFull: false } }, 10);
  assert.deepEqual(
    [back.anomaly?.cause, (back.anomaly?.score ?? 0) > 10],
    [undefined, true],
    'judged as if it had never been away',
  );
  const quiet = watched(next, { time: 12, space: 1, added: { ...QUIET, bytesLogical: 9 } }, 10);
  assert.deepEqual([quiet.added?.space, quiet.added?.snapshots.length], [1, 14]);
  assert.deepEqual(quiet.addedBefore, [next.added]);
});

test('four keys of a group are remembered, those that were used last', () => {
  const before = { ...MARKS, added: memoryOf(1, 3), addedBefore: [memoryOf(2, 3), memoryOf(3, 3), memoryOf(4, 3)] };
  const next = watched(before, { time: 10, space: 5, added: { ...QUIET, bytesLogical: 9 } }, 10);
  assert.deepEqual(
    [next.added, ...(next.addedBefore ?? [])].map((each) => each?.space),
    [5, 1, 2, 3],
  );
  const known = { ...before, addedBefore: [memoryOf(2, 3), memoryOf(3)] };
  assert.equal(
    watched(known, { time: 10, space: 5, added: { ...QUIET, bytesLogical: 9 } }, 10).anomaly?.cause,
    'key',
    'one that tells is enough',
  );
});

test('what is noted of a guest of any size can be read again', async () => {
  await night(1);
  const before = await stateOf();
  if (before === undefined) throw new Error('no group');
  // 0.5 % of it are no whole bytes.
  for (const bytesLogical of [10 * 1024 ** 3, 32 * 1024 ** 3 + 1, 0, Number.MAX_SAFE_INTEGER]) {
    const bytes = bytesLogical === Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : 30 * 1024 ** 3 + 1;
    const added = { bytesNew: bytes, bytesStored: bytes, bytesLogical };
    const memories = { ...before, added: { space: 0, snapshots: Array.from({ length: 14 }, () => QUIET) } };
    const state = watched(memories, { time: before.lastTime + 1, space: 0, added }, 2);
    assert.ok(state.anomaly, String(bytesLogical));
    await open.store.groups.writeState(ROOT, group, state);
    assert.deepEqual(await stateOf(), state);
  }
});

test('a backup that was interrupted and continued is judged by all that it brought', async () => {
  await usualNights();
  const { warnings } = await night(ATTACK_MIB, { isInterrupted: true });
  assert.match(warnings.join(), /^vm\/101 added 7\d/);
  const { bytesNew = 0, bytesStored = 0 } = (await stateOf())?.anomaly?.added ?? {};
  assert.ok(bytesNew >= ATTACK_MIB * MIB && bytesStored >= ATTACK_MIB * MIB, `${bytesNew} ${bytesStored}`);
});

test('a datastore may want to hear of more, of less, or of nothing', async () => {
  await usualNights();
  await changeLimits(open.store.layout, (limits) => ({ ...limits, anomalyFactor: 0 }));
  assert.deepEqual((await night(ATTACK_MIB)).warnings, []);
  await remember(Array.from({ length: 14 }, () => QUIET));
  await changeLimits(open.store.layout, (limits) => ({ ...limits, anomalyFactor: 20 }));
  assert.deepEqual((await night(ATTACK_MIB)).warnings, []);
  await remember(Array.from({ length: 14 }, () => QUIET));
  await changeLimits(open.store.layout, (limits) => ({ ...limits, anomalyFactor: 5 }));
  assert.equal((await night(36)).warnings.length, 1);
});

test('while a backup runs nobody settles it; a group that is given up forgets it', async () => {
  await usualNights();
  await night(ATTACK_MIB);
  const session = await open.session();
  await assert.rejects(clear(false), { code: 'datastore-locked' });
  await session.suspend();
  await clear(false);
  for (const time of await times()) await open.store.forget({ ns: ROOT, group, time });
  await open.store.keeping.releaseGroup(ROOT, group);
  const { added, addedBefore, anomaly } = (await stateOf()) ?? {};
  assert.deepEqual([added, addedBefore, anomaly], [undefined, undefined, undefined]);
});
