// Alarms on what did not happen: rules as they are, and each alarm said once until it was resolved, over restarts.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AlarmKeeper, alarmView } from '../../../src/notify/alarms/alarm-keeper.ts';
import { type AlarmFacts, alarmsOf, type JobFact, USUAL_RULES } from '../../../src/notify/alarms/alarm-rules.ts';
import type { NotifyEvent } from '../../../src/notify/event.ts';
import { AlarmTable } from '../../../src/state/notify-tables.ts';
import { StateDatabase } from '../../../src/state/state-database.ts';
import { temporaryDirectory } from '../../auth/access-fixture.ts';
import { NOW } from '../fixture.ts';

const HOUR = 3600;
const DAY = 86_400;
const RULES = { backupHours: 26, fullDays: 14, verifyDays: 30, jobHours: 6 };
const NOBODY = (_key: string): boolean => false;

function facts({
  lastGood = NOW,
  fullAt,
  oldestVerify,
  anomaly,
  job,
}: {
  lastGood?: number | null;
  fullAt?: number;
  oldestVerify?: number;
  anomaly?: string;
  job?: JobFact;
} = {}): AlarmFacts {
  return {
    groups: [{ datastore: 'main', ns: 'office', group: 'vm/100', lastGood: lastGood ?? undefined, anomaly }],
    datastores: [{ name: 'main', fullAt, oldestVerify }],
    jobs: job === undefined ? [] : [job],
  };
}
const keys = (given: AlarmFacts, isRaised = NOBODY, rules = RULES) =>
  alarmsOf(given, rules, NOW, isRaised).map(({ key }) => key);

test('a guest without a good backup for so many hours', () => {
  assert.deepEqual(keys(facts({ lastGood: NOW - 26 * HOUR })), []);
  assert.deepEqual(keys(facts({ lastGood: NOW - 26 * HOUR - 1 })), ['absence:main:office/vm/100']);
  assert.deepEqual(keys(facts({ lastGood: null })), ['absence:main:office/vm/100'], 'none at all');
  assert.deepEqual(keys(facts({ lastGood: NOW + HOUR })), [], 'a clock that was ahead');
  assert.deepEqual(keys(facts({ lastGood: null }), NOBODY, { ...RULES, backupHours: 0 }), []);
});

test('a group that looks unusual, whatever else is set; its end is said', (t) => {
  const off = { backupHours: 0, fullDays: 0, verifyDays: 0, jobHours: 0 };
  assert.deepEqual(keys(facts({ anomaly: 'added 9 GiB' }), NOBODY, off), ['anomaly:main:office/vm/100']);
  const one = keeper(t);
  const raised = one.check(facts({ lastGood: NOW, anomaly: 'added 9 GiB' }));
  assert.match(raised.join(), /^error main: office\/vm\/100 added 9 GiB; it is not pruned/);
  assert.deepEqual(
    [one.told[0]?.type, one.told[0]?.fields.alarm, one.told[0]?.text.includes('as after an attack')],
    ['anomaly', 'anomaly', true],
  );
  assert.deepEqual(one.check(facts({ lastGood: NOW, anomaly: 'added 9 GiB' })), []);
  assert.match(one.check(facts({ lastGood: NOW })).join(), /^notice main: office\/vm\/100 is well again/);
});

test('a datastore that will be full in so many days; the alarm ends a little later than it began', () => {
  assert.deepEqual(keys(facts({ fullAt: NOW + 14 * DAY + 1 })), []);
  assert.deepEqual(keys(facts({ fullAt: NOW + 14 * DAY })), ['disk-forecast:main']);
  assert.deepEqual(keys(facts({ fullAt: NOW - DAY })), ['disk-forecast:main']);
  assert.deepEqual(
    keys(facts({ fullAt: NOW + 17 * DAY }), () => true),
    ['disk-forecast:main'],
  );
  assert.deepEqual(
    keys(facts({ fullAt: NOW + 18 * DAY }), () => true),
    [],
  );
  assert.deepEqual(keys(facts({ fullAt: NOW }), NOBODY, { ...RULES, fullDays: 0 }), []);
});

test('verifications that are outdated, or never were', () => {
  assert.deepEqual(keys(facts({ oldestVerify: NOW - 30 * DAY })), []);
  assert.deepEqual(keys(facts({ oldestVerify: NOW - 30 * DAY - 1 })), ['verify:main']);
  assert.deepEqual(keys(facts({ oldestVerify: 0 })), ['verify:main']);
  assert.match(alarmsOf(facts({ oldestVerify: 0 }), RULES, NOW, NOBODY)[0]?.text ?? '', /never verified/);
  assert.deepEqual(keys(facts({ oldestVerify: 0 }), NOBODY, { ...RULES, verifyDays: 0 }), []);
});

function keeper(t: TestContext, path = join(temporaryDirectory(t), 'state.db')) {
  const state = StateDatabase.open(path);
  t.after(() => state.close());
  const told: NotifyEvent[] = [];
  const made = { told, state, path, nowMs: NOW * 1000, fails: false };
  const alarms = new AlarmKeeper({
    store: new AlarmTable(state.db),
    tell: (event) => {
      if (made.fails) throw new Error('disk full');
      told.push(event);
    },
    transactions: state,
    node: 'backup1',
    clock: () => made.nowMs,
  });
  const check = (given: AlarmFacts, unknown: string[] = []): string[] => {
    told.length = 0;
    alarms.check(given, new Set(unknown), RULES);
    return told.map(({ subject, severity }) => `${severity} ${subject}`);
  };
  return Object.assign(made, { alarms, check });
}

test('an alarm is said once, over a restart too, resolved once, and then again', (t) => {
  const one = keeper(t);
  const late = facts({ lastGood: NOW - 30 * HOUR });
  assert.deepEqual(one.check(late), ['error main: office/vm/100 has no good backup since 30 hours']);
  assert.deepEqual(one.told[0]?.fields, { datastore: 'main', alarm: 'absence', state: 'raised' });
  assert.deepEqual(one.check(late), []);
  const two = keeper(t, one.path);
  assert.deepEqual(two.check(late), []);
  assert.equal(two.alarms.raised().length, 1);
  assert.deepEqual(two.check(facts()), [
    'notice main: office/vm/100 is well again; it was: office/vm/100 has no good backup since 30 hours',
  ]);
  assert.deepEqual(two.check(facts()), []);
  assert.equal(two.check(late).length, 1);
});

test('a datastore that cannot be asked keeps its alarms; one that is gone loses them', (t) => {
  const one = keeper(t);
  one.check(facts({ lastGood: null }));
  const nothing = { groups: [], datastores: [], jobs: [] };
  assert.deepEqual(one.check(nothing, ['main']), []);
  assert.deepEqual(one.check(facts({ lastGood: null })), []);
  assert.equal(one.check(nothing).length, 1);
  assert.equal(one.alarms.raised().length, 0);
});

test('alarms of a datastore are one message', (t) => {
  const one = keeper(t);
  const groups = Array.from({ length: 50 }, (_, n) => ({
    datastore: 'main',
    ns: '',
    group: `vm/${n + 100}`,
    lastGood: undefined,
    anomaly: undefined,
  }));
  assert.deepEqual(one.check({ groups, datastores: [], jobs: [] }), ['error main: backups are missing (50)']);
  assert.equal(one.told[0]?.table?.rows.length, 50);
  assert.equal(one.alarms.raised().length, 50);
});

test('what could not be said is not noted as said', (t) => {
  const one = keeper(t);
  one.fails = true;
  assert.throws(() => one.check(facts({ lastGood: null })), /disk full/);
  assert.equal(one.alarms.raised().length, 0);
  one.fails = false;
  assert.equal(one.check(facts({ lastGood: null })).length, 1);
});

test('the usual rules leave a nightly backup that is late a day alone', () => {
  assert.deepEqual(keys(facts({ lastGood: NOW - 47 * HOUR }), NOBODY, USUAL_RULES), []);
});

const SYNC: JobFact = {
  ...{ kind: 'sync', id: 'offsite', datastore: 'main', node: 'pve1', hope: undefined },
  ...{ lastGood: NOW - 50 * HOUR, missed: NOW - 6 * HOUR - 1 },
};
const BEHIND = 'job-behind::job sync/offsite';

test('a job is behind so many hours after its second slot without a good run; who has no slots never is', () => {
  const of = (more: Partial<JobFact>, isRaised = NOBODY, rules = RULES) =>
    keys(facts({ job: { ...SYNC, ...more } }), isRaised, rules);
  assert.deepEqual(of({}), [BEHIND]);
  assert.deepEqual(of({ missed: NOW - 6 * HOUR }), []);
  assert.deepEqual(of({ missed: undefined }), []);
  assert.deepEqual(of({ missed: NOW + DAY }), []);
  assert.deepEqual(of({}, NOBODY, { ...RULES, jobHours: 0 }), []);
});

test('a run that works may make up for a job as long as its time-out says, one that waits for so many hours; an alarm that is raised stays', () => {
  const of = (since: number, mayTake: number | undefined, isRaised = NOBODY) =>
    keys(facts({ job: { ...SYNC, missed: NOW - 5 * DAY, hope: { since, mayTake } } }), isRaised);
  assert.deepEqual(of(NOW - DAY, DAY), []);
  assert.deepEqual(of(NOW - DAY - 1, DAY), [BEHIND]);
  assert.deepEqual(of(NOW - 6 * HOUR, undefined), []);
  assert.deepEqual(of(NOW - 6 * HOUR - 1, undefined), [BEHIND]);
  assert.deepEqual(
    of(NOW, DAY, (key) => key === BEHIND),
    [BEHIND],
  );
});

test('the alarm of a job has fields for matchers, also at its end when the job is gone, and is a message of its own', (t) => {
  const one = keeper(t);
  const other = { ...SYNC, id: 'second', datastore: undefined, node: undefined, lastGood: undefined };
  const both = { ...facts(), jobs: [SYNC, other] };
  assert.deepEqual(one.check(both), [
    'error main: job sync/offsite is behind: no run of it ended well since 50 hours',
    'error job sync/second is behind: no run of it ended well yet',
  ]);
  const about = { alarm: 'job-behind', 'job-kind': 'sync', 'job-id': 'offsite', datastore: 'main', node: 'pve1' };
  assert.deepEqual(one.told[0]?.fields, { ...about, state: 'raised' });
  assert.equal(one.told[0]?.type, 'absence');
  assert.deepEqual(one.told[1]?.fields, {
    alarm: 'job-behind',
    'job-kind': 'sync',
    'job-id': 'second',
    state: 'raised',
  });
  const third = { ...SYNC, id: 'third' };
  assert.match(
    one.check({ ...facts(), jobs: [...both.jobs, third, { ...third, id: 'fourth' }] }).join(),
    /sync\/third .*,error main: job sync\/fourth/,
  );
  one.check(both);
  const moved = { ...SYNC, datastore: 'other' };
  assert.deepEqual(one.check({ ...facts(), jobs: [moved, other] }), [], 'it is the same job still');
  assert.deepEqual(
    one.alarms.raised().map((each) => alarmView(each).datastore),
    ['main', ''],
  );
  assert.deepEqual(one.check({ ...facts(), jobs: [other] }, ['main']), [
    'notice main: job sync/offsite is behind no more; it was: job sync/offsite is behind: no run of it ended well since 50 hours',
  ]);
  assert.deepEqual(one.told[0]?.fields, { ...about, state: 'resolved' });
});
