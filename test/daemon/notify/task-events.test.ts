// Which ends of tasks are told, and the digest that is sent once a day, also when the server was off at its hour.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow, sendDueDigest } from '../../../src/daemon/notify/daily-digest.ts';
import { endedTask, taskEvent } from '../../../src/daemon/notify/task-events.ts';
import type { TaskRow } from '../../../src/jobs/tasks/task-store.ts';
import type { NotifyEvent } from '../../../src/notify/event.ts';
import { NotifySettings } from '../../../src/notify/settings.ts';

process.env.TZ = 'Europe/Berlin';
const at = (text: string): number => Date.parse(text) / 1000;
const row = (more: Partial<TaskRow>): TaskRow => ({
  upid: 'UPID:x',
  node: 'backup1',
  pid: 1,
  pstart: 1,
  starttime: at('2026-11-22T01:00:00+01:00'),
  type: 'garbage_collection',
  id: 'main',
  user: 'root@pam',
  endtime: at('2026-11-22T01:02:00+01:00'),
  status: 'OK',
  logNote: null,
  data: null,
  ...more,
});

test('maintenance is told always, backups of clients when they failed, what somebody looks at never', () => {
  const told = (more: Partial<TaskRow>) => {
    const event = taskEvent(row(more), 'backup1');
    return event && [event.type, event.severity, event.fields.datastore];
  };
  assert.deepEqual(told({}), ['gc', 'info', 'main']);
  assert.deepEqual(told({ type: 'verify', status: 'WARNINGS: 2' }), ['verify', 'warning', 'main']);
  assert.deepEqual(told({ type: 'prune', id: 'main:ns', status: 'boom' }), ['prune', 'error', 'main']);
  assert.equal(told({ type: 'backup', id: 'main:vm/100' }), undefined);
  assert.deepEqual(told({ type: 'backup', id: 'main:vm/100', status: 'boom' }), ['backup', 'error', 'main']);
  assert.deepEqual(told({ type: 'prunejob', id: 'main:nightly' }), ['prune', 'info', 'main']);
  assert.deepEqual(told({ type: 'verificationjob', id: 'main:weekly' }), ['verify', 'info', 'main']);
  assert.equal(told({ type: 'backupjob', id: 'main:host1:etc' }), undefined);
  assert.deepEqual(told({ type: 'backupjob', id: 'main:host1:etc', status: 'boom' }), ['backup', 'error', 'main']);
  assert.equal(told({ type: 'reader', status: 'boom' }), undefined);
  assert.equal(told({ type: 'state-backup' }), undefined);
  assert.deepEqual(told({ type: 'state-backup', status: 'boom' })?.slice(0, 2), ['system', 'error']);
  assert.equal(told({ status: null, endtime: null }), undefined, 'it runs still');
  const data = { result: { bytesFreed: 3 * 1024 * 1024 }, warnings: ['one', 'two'] };
  const event = taskEvent(row({ data, status: 'WARNINGS: 2' }), 'backup1');
  assert.match(event?.text ?? '', /Size: 3.00 MiB/);
  assert.match(event?.text ?? '', /Warnings:\none\ntwo$/);
  assert.equal(event?.subject, 'garbage_collection of main ended with warnings');
  assert.deepEqual(endedTask(row({ data }))?.sizeBytes, 3 * 1024 * 1024);
});

test('the digest is sent once a day at its hour, once for days that were missed, and its clock follows summer time', () => {
  const kept = new Map<string, string>();
  const settings = new NotifySettings({
    setting: (name) => kept.get(name),
    putSetting: (name, value) => kept.set(name, value),
  });
  const rows = [row({}), row({ status: null, endtime: null }), row({ endtime: at('2026-11-20T01:00:00Z'), id: 'old' })];
  const asked: unknown[] = [];
  const look = (time: string): NotifyEvent[] => {
    const told: NotifyEvent[] = [];
    sendDueDigest({
      settings,
      tasks: {
        list: (filter) => {
          asked.push(filter);
          return { rows, total: rows.length };
        },
      },
      tell: (event) => told.push(event),
      node: 'backup1',
      clock: () => at(time) * 1000,
    });
    return told;
  };
  assert.equal(look('2026-11-22T07:00:30+01:00').length, 0, 'none was asked for');
  settings.setDigestAt('07:00');
  const [first] = look('2026-11-22T07:00:30+01:00');
  assert.deepEqual(
    first?.table?.rows.map(([what]) => what),
    ['garbage_collection main'],
    'what ended in the night',
  );
  assert.equal(look('2026-11-22T07:01:30+01:00').length, 0);
  assert.equal(look('2026-11-23T06:59:59+01:00').length, 0);
  assert.equal(look('2026-11-26T12:00:00+01:00').length, 1, 'late, once');
  assert.equal(look('2026-11-26T12:01:00+01:00').length, 0);
  assert.deepEqual(
    (asked.at(-1) as { since: number }).since,
    at('2026-11-21T07:00:30+01:00'),
    'since the last one, and a day for long tasks',
  );
  assert.equal(look('2026-11-27T07:00:00+01:00').length, 1);
  settings.noteDigest(at('2030-01-01T00:00:00Z'));
  assert.equal(look('2026-11-28T07:00:00+01:00').length, 1, 'a clock that was ahead silences nothing');
  settings.noteDigest(at('2027-03-27T07:00:00+01:00'));
  assert.equal(look('2027-03-28T06:59:00+02:00').length, 0, 'the clocks went ahead in between');
  assert.equal(look('2027-03-28T07:00:00+02:00').length, 1);
  settings.setDigestAt('off');
  assert.equal(look('2027-04-28T07:00:00+02:00').length, 0);
  for (const wrong of ['7:00', '24:00', 'noon'])
    assert.throws(() => settings.setDigestAt(wrong), { code: 'bad-argument' });
  assert.throws(() => settings.setRules({ backupHours: -1 }), { code: 'bad-argument' });
});

test('the order that a job gave stands in the line of the job, unless there is more to say of it', () => {
  const job = (upid: string, status: string): TaskRow[] => [
    row({ type: 'backupjob', id: 'main:web1:etc', upid: `UPID:job-${upid}`, status, data: { upid } }),
    row({ type: 'agentbackup', id: 'main:web1:host/web1', upid, status }),
  ];
  const lines = (rows: readonly TaskRow[]): (string | undefined)[] | undefined =>
    digestNow(
      {
        tasks: { list: () => ({ rows: [...rows], total: 2 }) },
        node: 'n',
        clock: () => at('2026-11-22T02:00:00+01:00') * 1000,
      },
      24,
    ).table?.rows.map(([what]) => what?.split(' ')[0]);
  assert.deepEqual(lines(job('UPID:a', 'OK')), ['backupjob']);
  assert.deepEqual(lines(job('UPID:b', 'WARNINGS: 1')), ['agentbackup', 'backupjob']);
});

test('a backup that a job had made is one line, that of the job with what the session stored; what is not the same backup has its own', () => {
  const MIB = 1024 * 1024;
  const snapshot = 'host/web1/2026-11-22T00:30:00Z';
  const job = (more: Partial<TaskRow> = {}): TaskRow =>
    row({
      ...{ type: 'backupjob', id: 'main:web1:etc', upid: 'UPID:job' },
      ...{ data: { upid: 'UPID:order', result: { snapshot, bytesStored: 5 * MIB } }, ...more },
    });
  const order = row({
    type: 'agentbackup',
    id: 'main:web1:host/web1',
    upid: 'UPID:order',
    data: { result: { snapshot } },
  });
  const session = (more: Partial<TaskRow> = {}): TaskRow =>
    row({
      type: 'backup',
      id: 'main:host/web1',
      upid: 'UPID:session',
      data: { snapshot, bytesStored: 7 * MIB },
      ...more,
    });
  const lines = (...rows: TaskRow[]): string[] | undefined =>
    digestNow(
      {
        tasks: { list: () => ({ rows, total: rows.length }) },
        node: 'n',
        clock: () => at('2026-11-22T02:00:00+01:00') * 1000,
      },
      24,
    )
      .table?.rows.map(([what, , , size]) => `${what} ${size}`)
      .sort();
  assert.deepEqual(lines(session(), order, job()), ['backupjob main:web1:etc 7.00 MiB']);
  assert.deepEqual(lines(session(), order), ['agentbackup main:web1:host/web1 7.00 MiB'], 'an order that no job gave');
  const own = 'backup main:host/web1 7.00 MiB';
  const jobs = 'backupjob main:web1:etc 5.00 MiB';
  assert.deepEqual(lines(session({ status: 'WARNINGS: 1' }), order, job()), [own, jobs]);
  assert.deepEqual(lines(session(), order, job({ status: 'WARNINGS: 1' })), [
    'agentbackup main:web1:host/web1 7.00 MiB',
    jobs,
  ]);
  assert.deepEqual(lines(session({ id: 'other:host/web1' }), order, job()), [own.replace('main', 'other'), jobs]);
  const ofOther = session({ data: { snapshot: snapshot.replace('web1', 'web2'), bytesStored: 7 * MIB } });
  assert.deepEqual(lines(ofOther, order, job()), [own, jobs]);
  const twins = [session(), session({ id: 'main:ns/host/web1', upid: 'UPID:twin' })];
  assert.equal(lines(...twins, order, job())?.length, 3, 'nobody knows which of them it is');
  assert.deepEqual(lines(session()), [own], 'of a client');
});

test('a digest that is wanted now is of the hours that were asked for, in the order of the night', () => {
  const hour = 3600;
  const start = at('2026-11-22T01:00:00+01:00');
  // As the list of tasks has them: the newest first, also of one second.
  const rows = [
    row({ id: 'third', starttime: start, endtime: start + 3 }),
    row({ id: 'second', starttime: start, endtime: start + 2 }),
    row({ id: 'first', starttime: start - 1, endtime: start + 1 }),
    row({ id: 'before', starttime: start - 3 * hour, endtime: start - 2 * hour }),
  ];
  const names = (hours: number): (string | undefined)[] | undefined =>
    digestNow(
      { tasks: { list: () => ({ rows, total: 4 }) }, node: 'backup1', clock: () => (start + hour) * 1000 },
      hours,
    ).table?.rows.map(([what]) => what?.replace('garbage_collection ', ''));
  assert.deepEqual(names(2), ['first', 'second', 'third']);
  assert.deepEqual(names(4), ['before', 'first', 'second', 'third']);
});
