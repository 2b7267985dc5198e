// Tasks of the guest dialect: UPIDs of nine fields that are good from the first moment on, lists, logs and ends.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findUpid, guestUpidOf } from '../../../src/api/guest/guest-upid.ts';
import { GuestRig } from './guest-rig.ts';

const ROOT = 'root@pam';
const TASKS = '/nodes/pve1/tasks';

interface Row {
  readonly upid: string;
  readonly id: string;
  readonly type: string;
  readonly status?: string;
  readonly endtime?: number;
}

test('a task can be asked about as soon as its UPID is known, and told from others of its second', async (t) => {
  const rig = await GuestRig.open(t);
  rig.guests.add(100);
  let open = (): void => undefined;
  rig.guests.gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const start = (): Promise<string> => rig.data('POST', '/nodes/pve1/qemu/100/status/start');
  const [one, two] = [await start(), await start()];
  assert.notEqual(one, two);
  assert.equal(one.split(':').length, 9);
  const running = await rig.data<Record<string, unknown>>('GET', `${TASKS}/${one}/status`);
  const { pid, pstart, starttime, upid, ...rest } = running;
  assert.equal(upid, one);
  // What clients take apart says the same as what they are told.
  const fields = one.split(':').slice(2, 5);
  assert.deepEqual(
    fields.map((each) => Number.parseInt(each, 16)),
    [pid, pstart, starttime],
  );
  assert.deepEqual(rest, { node: 'pve1', type: 'qmstart', id: '100', user: ROOT, status: 'running' });
  assert.deepEqual((await rig.data<Row[]>('GET', TASKS)).length, 0);
  const active = await rig.data<Row[]>('GET', TASKS, { source: 'active' });
  assert.deepEqual(
    active.map((row) => [row.upid, row.status, row.endtime]),
    [
      [two, 'RUNNING', undefined],
      [one, 'RUNNING', undefined],
    ],
  );
  open();
  assert.deepEqual([await rig.ended(one), (await rig.ended(two)).slice(0, 22)], ['OK', 'VM 100 already running']);
  const archive = await rig.call(ROOT, 'GET', TASKS, { vmid: 100, limit: 1 });
  assert.equal(archive.json.total, 2);
  assert.equal((archive.json.data as Row[])[0]?.upid, two);
  assert.equal((await rig.data<Row[]>('GET', TASKS, { vmid: 101 })).length, 0);
  assert.equal((await rig.data<Row[]>('GET', TASKS, { errors: 1 })).length, 1);
  assert.equal((await rig.data<Row[]>('GET', '/cluster/tasks')).length, 2);
});

test('a log begins with line 1, has no times, and ends with how the task ended', async (t) => {
  const rig = await GuestRig.open(t);
  rig.guests.add(100);
  const upid = await rig.data<string>('POST', '/nodes/pve1/qemu/100/status/start');
  await rig.ended(upid);
  const log = await rig.call(ROOT, 'GET', `${TASKS}/${encodeURIComponent(upid)}/log`);
  assert.deepEqual(log.json, {
    total: 2,
    data: [
      { n: 1, t: 'QEMU starts' },
      { n: 2, t: 'TASK OK' },
    ],
  });
  assert.deepEqual(await rig.data('GET', `${TASKS}/${upid}/log`, { start: 1, limit: 0 }), [{ n: 2, t: 'TASK OK' }]);
  assert.deepEqual(await rig.data('GET', `${TASKS}/${upid}/log`, { start: 7 }), []);
});

test('tasks of the backup dialect are there too; others see no task that is not theirs', async (t) => {
  const rig = await GuestRig.open(t);
  await rig.grant('anna@pve', { '/vms/100': 'PVEVMUser' });
  rig.guests.add(100);
  const { upid } = rig.tasks.start({ type: 'verify', id: 'store1:vm/100', authId: ROOT }, async () => undefined);
  const short = guestUpidOf(upid);
  assert.equal(findUpid(rig.tasks, short), upid);
  assert.equal(await rig.ended(short), 'OK');
  const own = await rig.call('anna@pve', 'POST', '/nodes/pve1/qemu/100/status/start');
  const mine = await rig.call('anna@pve', 'GET', `${TASKS}/${own.json.data}/status`);
  assert.equal(mine.status, 200);
  const others = await rig.call('anna@pve', 'GET', `${TASKS}/${encodeURIComponent(short)}/status`);
  assert.deepEqual([others.status, others.reason], [403, 'Permission check failed (/nodes/pve1, Sys.Audit)']);
  const list = await rig.call('anna@pve', 'GET', TASKS, { source: 'all' });
  assert.deepEqual(
    (list.json.data as Row[]).map(({ type }) => type),
    ['qmstart'],
  );
  for (const [wrong, reason] of [
    [short.replace(':verify:', ':gc:'), 'no such task'],
    ['UPID:pve1:nonsense-and-more-of-it:', 'unable to parse worker upid'],
  ])
    assert.deepEqual(
      (await rig.call(ROOT, 'GET', `${TASKS}/${encodeURIComponent(wrong as string)}/status`)).json.errors,
      { upid: reason },
    );
});

test('a task is aborted by whoever started it', async (t) => {
  const rig = await GuestRig.open(t);
  const { upid, done } = rig.tasks.start({ type: 'qmclone', id: '100', authId: ROOT }, async ({ signal }) => {
    await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  });
  assert.equal(await rig.data('DELETE', `${TASKS}/${guestUpidOf(upid)}`), null);
  assert.match((await done).status, /^aborted/);
});
