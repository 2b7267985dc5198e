// The plan of a prune: what stays, why, and what protection, locks and damage do to it. On a reader of manifests that are made up here.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeepCounts } from '../../../src/datastore/prune/keep-rules.ts';
import { type PrunePlan, planPrune, type SnapshotReader } from '../../../src/datastore/prune/plan.ts';
import { removalsOf } from '../../../src/datastore/prune/prune-operation.ts';
import type { Manifest, ServerPart } from '../../../src/schema/manifest.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { clientPart, serverPart } from '../snapshots/manifests.ts';

const NS = parseNamespace('office');
const DAY = 24 * 3600;
const FIRST = Date.parse('2026-03-02T01:00:00Z') / 1000;
const CLOCK_MS = 1_000_000;
const group = parseGroup('vm/101');
const noSignal = new AbortController().signal;

type Given = Partial<ServerPart> | 'altered' | 'gone';

/** One snapshot a day, of each group. */
function reader(groups: Readonly<Record<string, readonly Given[]>>): SnapshotReader {
  return {
    times: async (ns, name) => {
      assert.equal(ns, NS);
      return (groups[name] ?? []).map((_, at) => FIRST + at * DAY);
    },
    state: async () => undefined,
    manifest: async ({ ns, group: name, time }): Promise<Manifest | undefined> => {
      assert.equal(ns, NS);
      const given = groups[name]?.[(time - FIRST) / DAY] as Given;
      if (given === 'gone') return undefined;
      if (given === 'altered') throw new HoldfastError('manifest-altered', `${time} was edited by hand`);
      return { format: 1, client: clientPart(), server: { ...serverPart(1, time), ...given }, digest: '' };
    },
  };
}

const plan = (given: Readonly<Record<string, readonly Given[]>>, counts: KeepCounts): Promise<PrunePlan> =>
  planPrune(reader(given), { ns: NS, groups: Object.keys(given).map(parseGroup), counts, clockMs: CLOCK_MS }, noSignal);

/** The rules of one group's snapshots, oldest first. */
async function rules(given: readonly Given[], counts: KeepCounts): Promise<(string | null)[]> {
  const [{ snapshots }] = (await plan({ 'vm/101': given }, counts)).groups as [PrunePlan['groups'][number]];
  for (const { keep, rule } of snapshots) assert.equal(keep, rule !== null);
  return snapshots.map(({ rule }) => rule);
}

test('each snapshot has its name, its time, and the rule that keeps it; oldest first', async () => {
  const { groups, warnings } = await plan({ 'vm/101': [{}, {}, {}] }, { 'keep-last': 1, 'keep-daily': 1 });
  assert.deepEqual(groups, [
    {
      group,
      snapshots: [
        {
          snapshot: 'vm/101/2026-03-02T01:00:00Z',
          time: FIRST,
          keep: false,
          rule: null,
          reason: 'beyond the 1 newest of keep-last and the 1 day of keep-daily',
        },
        {
          snapshot: 'vm/101/2026-03-03T01:00:00Z',
          time: FIRST + DAY,
          keep: true,
          rule: 'keep-daily',
          reason: 'keep-daily 1 of 1: the newest of 2026-03-03',
        },
        {
          snapshot: 'vm/101/2026-03-04T01:00:00Z',
          time: FIRST + 2 * DAY,
          keep: true,
          rule: 'keep-last',
          reason: 'keep-last 1 of 1: the newest',
        },
      ],
    },
  ]);
  assert.deepEqual(warnings, []);
});

test('without rules everything stays; with rules that are all 0 nothing does', async () => {
  assert.deepEqual(await rules([{}, {}], {}), ['keep-all', 'keep-all']);
  assert.deepEqual(await rules([{}, { protected: true }], {}), ['keep-all', 'protected']);
  assert.deepEqual(await rules([{}, {}], { 'keep-last': 0, 'keep-daily': 0 }), [null, null]);
});

test('a protected snapshot stays and does not count', async () => {
  assert.deepEqual(await rules([{}, {}, { protected: true }], { 'keep-last': 1 }), [null, 'keep-last', 'protected']);
  assert.deepEqual(await rules([{ protected: true }, {}, {}], { 'keep-last': 1 }), ['protected', null, 'keep-last']);
});

test('a lock keeps what the rules would remove, and changes nothing else; an expired one does nothing', async () => {
  const locked = { lockedUntilClockMs: CLOCK_MS + 1 };
  const expired = { lockedUntilClockMs: CLOCK_MS };
  assert.deepEqual(await rules([{}, {}, locked, {}], { 'keep-last': 1 }), [null, null, 'locked', 'keep-last']);
  assert.deepEqual(await rules([{}, {}, locked], { 'keep-last': 1 }), [null, null, 'keep-last']);
  assert.deepEqual(await rules([expired, {}], { 'keep-last': 1 }), [null, 'keep-last']);
  assert.deepEqual(await rules([locked, expired], { 'keep-last': 0 }), ['locked', null]);
  assert.deepEqual(await rules([{ ...locked, protected: true }, {}], { 'keep-last': 1 }), ['protected', 'keep-last']);
});

test('what holds a snapshot is its reason; a locked one also says what the rules would do', async () => {
  const locked = { lockedUntilClockMs: CLOCK_MS + 1 };
  const reasons = async (given: readonly Given[], counts: KeepCounts): Promise<string[]> =>
    (await plan({ 'vm/101': given }, counts)).groups.flatMap(({ snapshots }) => snapshots.map(({ reason }) => reason));
  assert.deepEqual(await reasons([locked, 'altered', {}, { protected: true }], { 'keep-last': 1 }), [
    'locked; without the lock it would go: beyond the 1 newest of keep-last',
    'its manifest was altered: nobody can tell whether it may go',
    'keep-last 1 of 1: the newest that counts',
    'protected: it stays, and takes no place of another one',
  ]);
  assert.deepEqual(await reasons([{}, locked], { 'keep-last': 1 }), [
    'beyond the 1 newest of keep-last',
    'keep-last 1 of 1: the newest',
  ]);
  assert.deepEqual(await reasons([{}, locked], {}), ['no keep rule was given', 'no keep rule was given']);
});

test('an altered manifest is kept, said, and takes no place of a good one', async () => {
  const { groups, warnings } = await plan({ 'vm/101': [{}, {}, 'altered'], 'vm/102': [{}, {}] }, { 'keep-last': 1 });
  assert.deepEqual(
    groups.map(({ snapshots }) => snapshots.map(({ rule }) => rule)),
    [
      [null, 'keep-last', 'altered'],
      [null, 'keep-last'],
    ],
  );
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] as string, /^vm\/101\/2026-03-04T01:00:00Z is kept and does not count: \d+ was edited/);
});

test('any other failure to read ends the plan: nothing is removed on half of the facts', async () => {
  const broken = { ...reader({ 'vm/101': [{}] }), manifest: () => Promise.reject(new Error('EIO')) };
  const request = { ns: NS, groups: [group], counts: {}, clockMs: 0 };
  await assert.rejects(planPrune(broken, request, noSignal), /EIO/);
  const stopped = AbortSignal.abort(new Error('stopped'));
  await assert.rejects(planPrune(reader({ 'vm/101': [{}] }), request, stopped), /stopped/);
});

test('what was removed meanwhile is not in the plan', async () => {
  assert.deepEqual(await rules([{}, {}, 'gone'], { 'keep-last': 1 }), [null, 'keep-last']);
});

test('groups are planned each by itself, in the order in which they are asked for', async () => {
  const { groups } = await plan({ 'vm/2': [{}, {}], 'ct/1': [{}], 'vm/3': [] }, { 'keep-last': 1 });
  assert.deepEqual(
    groups.map(({ group: name, snapshots }) => [name, ...snapshots.map(({ keep }) => keep)]),
    [['vm/2', false, true], ['ct/1', true], ['vm/3']],
  );
});

test('removals are what the plan does not keep, oldest first, in requests that a holder takes', async () => {
  const small = await plan({ 'vm/1': [{}, { protected: true }, {}, {}], 'vm/2': [{}] }, { 'keep-last': 1 });
  assert.deepEqual(removalsOf(NS, small), [{ ns: NS, groups: [{ group: 'vm/1', times: [FIRST, FIRST + 2 * DAY] }] }]);
  assert.deepEqual(removalsOf(NS, await plan({ 'vm/1': [{}] }, {})), []);

  const snapshots = (count: number) =>
    Array.from({ length: count }, (_, at) => ({ snapshot: '', time: 1e12 + at, keep: false, rule: null, reason: '' }));
  const long = (at: number) => parseGroup(`host/${String(at).padStart(128, 'x')}`);
  const large: PrunePlan = {
    groups: [
      { group, snapshots: snapshots(12_345) },
      ...Array.from({ length: 6000 }, (_, at) => ({ group: long(at), snapshots: snapshots(1) })),
    ],
    warnings: [],
  };
  const requests = removalsOf(parseNamespace('n'.repeat(128)), large);
  for (const request of requests) assert.ok(JSON.stringify(request).length < 1024 * 1024 - 1000);
  const names = requests.flatMap(({ groups }) =>
    groups.flatMap(({ group: name, times }) => times.map((time) => `${name} ${time}`)),
  );
  assert.deepEqual(
    names,
    large.groups.flatMap(({ group: name, snapshots: all }) => all.map(({ time }) => `${name} ${time}`)),
  );
});
