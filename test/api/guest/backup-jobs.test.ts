// /cluster/backup: jobs as clients of Proxmox VE make, read, change and remove them, and the job of ours that stands behind each.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { BACKUP_FIELDS } from '../../../src/api/guest/routes/cluster/backup-fields.ts';
import { GuestRig } from './guest-rig.ts';

const PATH = '/cluster/backup';
const ROOT = 'root@pam';
const ACTOR = { authId: ROOT, address: '' };
type Row = Record<string, unknown> & { readonly id: string; readonly 'next-run'?: number };
type Parameters = Record<string, string | number>;

async function open(t: TestContext): Promise<GuestRig> {
  const rig = await GuestRig.open(t);
  const own = await rig.storages.list();
  const tank = { type: 'pbs', content: ['backup'], isEnabled: true, isShared: true, options: { path: '/tank' } };
  rig.storages.list = async () => [...own, { ...tank, storage: 'tank' }, { ...tank, storage: 'vault' }];
  for (const vmid of [100, 101, 102]) rig.guests.add(vmid, { scsi0: `disks:vm-${vmid}-disk-0,size=1G` });
  return rig;
}

/** The one job, as it is kept. */
function kept(rig: GuestRig) {
  const [job, ...more] = rig.jobs.list('vzdump');
  assert.ok(job !== undefined && more.length === 0);
  const { schedule, enabled, comment, options } = job;
  return { schedule, enabled, comment, options };
}

async function errorsOf(rig: GuestRig, method: string, path: string, parameters: Parameters): Promise<object> {
  const { status, json } = await rig.call(ROOT, method, path, parameters);
  assert.equal(status, 400, JSON.stringify([parameters, json]));
  return json.errors ?? {};
}

test('a job is made, listed with its next run, shown, changed and removed', async (t) => {
  const rig = await open(t);
  const made = { id: 'nightly', storage: 'tank', schedule: 'sat 21:00', vmid: '101,100,101', mode: 'suspend' };
  const more = { comment: 'ours', 'notes-template': '{{guestname}}', protected: 1, bwlimit: 1024, lockwait: 10 };
  assert.equal(await rig.data('POST', PATH, { ...made, ...more, fleecing: 'enabled=1,storage=disks' }), null);
  const options = { mode: 'suspend', lockwait: 10, protected: true, bwlimit: 1024, 'notes-template': '{{guestname}}' };
  assert.deepEqual(kept(rig), {
    ...{ schedule: 'sat 21:00', enabled: true, comment: 'ours' },
    options: { node: 'localhost', store: 'tank', ...options, vmid: [101, 100], 'fleecing-storage': 'disks' },
  });
  const [row, ...rest] = await rig.data<Row[]>('GET', PATH);
  const { 'next-run': next, ...shown } = row as Row;
  assert.equal(rest.length, 0);
  const at = new Date((next ?? 0) * 1000);
  assert.deepEqual([at.getUTCDay(), at.getUTCHours(), at.getTime() > Date.now()], [6, 21, true]);
  assert.deepEqual(shown, {
    ...{ ...made, vmid: '101,100', ...more, type: 'vzdump', enabled: 1 },
    fleecing: { enabled: 1, storage: 'disks' },
  });
  assert.deepEqual(await rig.data('GET', `${PATH}/nightly`), row);

  const change = { enabled: 0, schedule: '02:00', delete: 'comment,bwlimit,fleecing', mode: 'stop' };
  assert.equal(await rig.data('PUT', `${PATH}/nightly`, change), null);
  const { comment: _comment, bwlimit: _limit, fleecing: _fleecing, ...stays } = shown;
  const changed = { ...stays, enabled: 0, schedule: '02:00', mode: 'stop' };
  assert.deepEqual(await rig.data('GET', PATH), [changed], 'one that is off has no next run');
  await rig.data('PUT', `${PATH}/nightly`, { delete: 'enabled' });
  assert.equal((await rig.data<Row>('GET', `${PATH}/nightly`)).enabled, 1);
  assert.equal(await rig.data('DELETE', `${PATH}/nightly`), null);
  assert.deepEqual(await rig.data('GET', PATH), []);
  assert.deepEqual(
    rig.askedOfJobs.map(({ action, ref, by }) => `${action} ${ref} ${by}`),
    ['job-create', 'job-update', 'job-update', 'job-remove'].map((action) => `${action} vzdump/nightly ${ROOT}`),
  );
  for (const method of ['GET', 'PUT', 'DELETE'])
    assert.deepEqual(await errorsOf(rig, method, `${PATH}/nightly`, {}), { id: "No such job 'nightly'" });
});

test('a job without a name is given one; a name that is taken is refused; starttime and dow are a schedule', async (t) => {
  const rig = await open(t);
  await rig.data('POST', PATH, { storage: 'tank', starttime: '21:30', dow: 'mon,tue', all: 1 });
  const [{ id, schedule } = { id: '', schedule: '' }] = await rig.data<Row[]>('GET', PATH);
  assert.match(id, /^backup-[0-9a-f]{8}-[0-9a-f]{4}$/);
  assert.equal(schedule, 'mon,tue 21:30');
  const again = await rig.call(ROOT, 'POST', PATH, { id, storage: 'tank', schedule: 'daily', all: 1 });
  assert.deepEqual([again.status, again.reason], [500, `Job '${id}' already exists`]);
});

test('what names guests takes the place of what named them before; what a client does not speak of stays', async (t) => {
  const rig = await open(t);
  const base = { node: 'localhost', store: 'tank', mode: 'snapshot' };
  const options = { ...base, ns: 'office', vmid: [100], 'compression-level': 3 };
  const job = { kind: 'vzdump', id: 'made.here', schedule: 'daily', retries: 2, options };
  rig.jobs.create(ACTOR, job);
  rig.jobs.create(ACTOR, { ...job, id: 'elsewhere', options: { ...options, node: 'pve2' } });
  assert.deepEqual(
    (await rig.data<Row[]>('GET', PATH)).map((row) => row.id),
    ['made.here'],
    'jobs of other hosts are not of this machine',
  );
  for (const method of ['GET', 'PUT', 'DELETE'])
    assert.deepEqual(await errorsOf(rig, method, `${PATH}/elsewhere`, {}), { id: "No such job 'elsewhere'" });
  rig.jobs.remove(ACTOR, { kind: 'vzdump', id: 'elsewhere' });
  const path = `${PATH}/made.here`;
  const others = { ...base, ns: 'office', 'compression-level': 3 };
  assert.deepEqual(await errorsOf(rig, 'PUT', path, { exclude: '101' }), {
    exclude: "option conflicts with option 'vmid'",
  });
  await rig.data('PUT', path, { all: 1, exclude: '101 102' });
  assert.deepEqual(kept(rig).options, { ...others, all: true, exclude: [101, 102] });
  await rig.data('PUT', path, { storage: 'vault' });
  assert.deepEqual(kept(rig).options, { ...others, store: 'vault', all: true, exclude: [101, 102] });
  await rig.data('PUT', path, { vmid: '102' });
  assert.deepEqual(kept(rig).options, { ...others, store: 'vault', vmid: [102] });
  assert.equal(rig.jobs.list('vzdump')[0]?.retries, 2);
});

test('keep rules are those of the job; what means nothing here is shown as it was given, and no more', async (t) => {
  const rig = await open(t);
  const rules = { 'prune-backups': 'keep-last=3,keep-daily=7,keep-weekly=0' };
  const idle = { compress: 'zstd', zstd: 0, node: 'pve1', performance: 'max-workers=4', 'repeat-missed': 1, remove: 1 };
  const made = { id: 'nightly', storage: 'tank', schedule: 'daily', all: 1, 'notification-mode': 'auto' };
  await rig.data('POST', PATH, { ...made, ...rules, ...idle, fleecing: 'enabled=1' });
  const { options } = kept(rig);
  assert.deepEqual([options['keep-last'], options['keep-daily'], options['keep-weekly']], [3, 7, undefined]);
  const { 'next-run': _next, ...shown } = await rig.data<Row>('GET', `${PATH}/nightly`);
  assert.deepEqual(shown, {
    ...{ ...made, ...idle, type: 'vzdump', enabled: 1, mode: 'snapshot' },
    'prune-backups': 'keep-daily=7,keep-last=3,keep-weekly=0',
    performance: { 'max-workers': 4 },
    fleecing: { enabled: 1 },
  });
  await rig.data('PUT', `${PATH}/nightly`, { 'prune-backups': 'keep-all=1', delete: 'compress,performance' });
  const { 'keep-last': last, 'without-effect': left } = kept(rig).options;
  assert.equal(last, undefined);
  const { compress: _compress, performance: _performance, ...stays } = idle;
  assert.deepEqual(left, {
    ...{ ...stays, 'repeat-missed': true, remove: true, 'notification-mode': 'auto', fleecing: 'enabled=1' },
    'prune-backups': 'keep-all=1',
  });
  const cleared = { 'prune-backups': '', fleecing: '', mailto: '', delete: Object.keys(stays).join(',') };
  await rig.data('PUT', `${PATH}/nightly`, { ...cleared, 'notification-mode': 'notification-system' });
  assert.deepEqual(kept(rig).options['without-effect'], { 'notification-mode': 'notification-system' });
});

test('what is not here, or does not fit together, is refused by its name, and nothing is made', async (t) => {
  const rig = await open(t);
  const good = { storage: 'tank', schedule: 'daily', vmid: 100 };
  const cases: readonly (readonly [Parameters, string, RegExp])[] = [
    [{ storage: 'tank', schedule: 'daily' }, 'vmid', /missing/],
    [{ ...good, vmid: ',' }, 'vmid', /name a guest/],
    [{ ...good, vmid: '7' }, 'vmid', /./],
    [{ ...good, all: 1 }, 'all', /conflicts/],
    [{ ...good, exclude: 101 }, 'exclude', /conflicts/],
    [{ storage: 'tank', vmid: 100 }, 'schedule', /neither/],
    [{ ...good, schedule: 'at noon' }, 'schedule', /"at noon"/],
    [{ ...good, starttime: '1:00' }, 'starttime', /both/],
    [{ ...good, dow: 'mon' }, 'dow', /starttime/],
    [{ schedule: 'daily', vmid: 100 }, 'storage', /datastore/],
    [{ ...good, storage: 'disks' }, 'storage', /no datastore/],
    [{ ...good, pool: 'web' }, 'pool', /does not exist/],
    [{ ...good, dumpdir: '/x' }, 'dumpdir', /datastore/],
    [{ ...good, tmpdir: '/x' }, 'tmpdir', /leave it out/],
    [{ ...good, mailto: 'a@b.example' }, 'mailto', /holdfast notify/],
    [{ ...good, mailnotification: 'always' }, 'mailnotification', /holdfast notify/],
    [{ ...good, 'notification-mode': 'legacy-sendmail' }, 'notification-mode', /holdfast notify/],
    [{ ...good, maxfiles: 3 }, 'maxfiles', /prune-backups/],
    [{ ...good, 'exclude-path': '/tmp' }, 'exclude-path', /backup=0/],
    [{ ...good, 'prune-backups': 'keep-last=x' }, 'prune-backups', /no rule/],
    [{ ...good, 'prune-backups': 'keep-last=0' }, 'prune-backups', /keep something/],
    [{ ...good, 'prune-backups': 'keep-last=1', remove: 0 }, 'remove', /conflicts/],
    [{ ...good, fleecing: 'size=3' }, 'fleecing', /no 'size'/],
    [{ ...good, fleecing: 'enabled=maybe' }, 'fleecing', /1 or 0/],
    [{ ...good, fleecing: 'enabled=1,storage=../x' }, 'fleecing', /no name of a storage/],
    [{ ...good, 'prune-backups': 'keep-all=0' }, 'prune-backups', /keep something/],
    [{ ...good, 'prune-backups': 'keep-all=1,keep-last=1' }, 'prune-backups', /'keep-all=1' is no rule/],
    [{ ...good, mode: 'later' }, 'mode', /enumeration/],
    [{ ...good, id: '../x' }, 'id', /pattern/],
  ];
  for (const [parameters, name, pattern] of cases) {
    const [[key, text] = [], ...more] = Object.entries(await errorsOf(rig, 'POST', PATH, parameters));
    assert.deepEqual([key, more], [name, []], JSON.stringify(parameters));
    assert.match(text as string, pattern);
  }
  assert.match(
    (await rig.call(ROOT, 'POST', PATH, { ...good, storage: 'nowhere' })).reason,
    /'nowhere' does not exist/,
  );
  assert.match((await rig.call(ROOT, 'POST', PATH, { ...good, node: 'pve2' })).reason, /this node is 'pve1'/);
  assert.deepEqual(rig.jobs.list(), []);
  await rig.data('POST', PATH, { ...good, id: 'stays' });
  const before = kept(rig);
  for (const [parameters, name] of [
    [{ delete: 'nonsense' }, 'delete'],
    [{ delete: 'storage' }, 'delete'],
    [{ delete: 'schedule' }, 'delete'],
    [{ delete: 'vmid' }, 'vmid'],
    [{ all: 0, delete: 'vmid' }, 'vmid'],
    [{ schedule: 'at noon', vmid: 102 }, 'schedule'],
    [{ storage: 'disks' }, 'storage'],
    [{ mailto: 'a@b.example' }, 'mailto'],
  ] as const)
    assert.deepEqual(Object.keys(await errorsOf(rig, 'PUT', `${PATH}/stays`, parameters)), [name]);
  assert.deepEqual(kept(rig), before);
  assert.deepEqual(rig.bugs, []);
});

test('it takes Sys.Modify on the whole, AllocateSpace on the storages, Allocate to prune there, and root for a script', async (t) => {
  const rig = await open(t);
  const closed = { '/storage/vault': 'NoAccess', '/storage/disks': 'NoAccess' } as const;
  await rig.grant('keeper@pve', { '/': 'Admin', '/storage/tank': 'PVEDatastoreUser', ...closed });
  await rig.grant('auditor@pve', { '/': 'PVEAuditor' });
  await rig.grant('user@pve', { '/vms/100': 'PVEVMUser', '/storage/tank': 'PVEDatastoreUser' });
  const good = { id: 'nightly', storage: 'tank', schedule: 'daily', all: 1 };
  const ask = async (as: string, parameters: Parameters, method = 'POST', path = PATH): Promise<string> => {
    const { reason, json } = await rig.call(as, method, path, parameters);
    return JSON.stringify([reason, json.errors ?? null]);
  };
  for (const as of ['user@pve', 'auditor@pve']) assert.match(await ask(as, good), /\(\/, Sys.Modify\)/);
  assert.match(await ask('user@pve', {}, 'GET'), /\(\/, Sys.Audit\)/);
  assert.match(await ask('keeper@pve', { ...good, storage: 'vault' }), /\/storage\/vault, Datastore.AllocateSpace/);
  const fleecing = 'enabled=1,storage=disks';
  assert.match(await ask('keeper@pve', { ...good, fleecing }), /\/storage\/disks, Datastore.AllocateSpace/);
  const pruned = { ...good, 'prune-backups': 'keep-last=1' };
  assert.match(await ask('keeper@pve', pruned), /\/storage\/tank, Datastore.Allocate\)/);
  assert.match(await ask('keeper@pve', { ...good, script: '/x' }), /"script":"Only root/);
  assert.deepEqual(rig.jobs.list(), []);
  assert.match(await ask('keeper@pve', good), /"OK"/);
  assert.match(await ask('auditor@pve', {}, 'GET', `${PATH}/nightly`), /"OK"/);
  assert.match(await ask('auditor@pve', {}, 'DELETE', `${PATH}/nightly`), /Sys.Modify/);
  await rig.data('PUT', `${PATH}/nightly`, { 'prune-backups': 'keep-last=1', script: '/x' });
  for (const change of [{ script: '/y' }, { script: '' }, { delete: 'script' }])
    assert.match(await ask('keeper@pve', change, 'PUT', `${PATH}/nightly`), /"script":"Only root/);
  assert.match(await ask('keeper@pve', { vmid: 100 }, 'PUT', `${PATH}/nightly`), /"OK"/, 'what it was allowed stays');
  await rig.grant('mover@pve', { '/': 'Admin', '/storage/vault': 'PVEDatastoreUser' });
  assert.match(
    await ask('mover@pve', { storage: 'vault' }, 'PUT', `${PATH}/nightly`),
    /\/storage\/vault, Datastore.Allocate\)/,
    'and pruning elsewhere is another thing',
  );
});

test('fleecing that is switched off uses no storage and reads back as it was given; so does a rule that keeps nothing', async (t) => {
  const rig = await open(t);
  const made = { storage: 'tank', schedule: 'daily', all: 1 };
  const cases: readonly (readonly [string, unknown, string | undefined])[] = [
    ['enabled=0,storage=disks', { enabled: 0, storage: 'disks' }, undefined],
    ['0', { enabled: 0 }, undefined],
    ['enabled=off', { enabled: 0 }, undefined],
    ['1', { enabled: 1 }, undefined],
    ['1,storage=disks', { enabled: 1, storage: 'disks' }, 'disks'],
    ['storage=disks', { enabled: 1, storage: 'disks' }, 'disks'],
  ];
  for (const [fleecing, shown, used] of cases) {
    await rig.data('POST', PATH, { ...made, id: 'fleeced', fleecing, 'prune-backups': 'keep-all=0,keep-last=2' });
    const { options } = kept(rig);
    assert.deepEqual([options['fleecing-storage'], options['keep-last']], [used, 2], fleecing);
    const row = await rig.data<Row>('GET', `${PATH}/fleeced`);
    assert.deepEqual([row.fleecing, row['prune-backups']], [shown, 'keep-all=0,keep-last=2'], fleecing);
    // A change of something else leaves it.
    await rig.data('PUT', `${PATH}/fleeced`, { comment: 'ours' });
    assert.deepEqual(kept(rig).options, options, fleecing);
    await rig.data('DELETE', `${PATH}/fleeced`);
  }
});

test('what has no effect cannot hide what has one: a change of another field turns nothing on', async (t) => {
  const rig = await open(t);
  const options = { node: 'localhost', store: 'tank', all: true };
  const job = { kind: 'vzdump', id: 'hidden', schedule: 'daily' };
  for (const hidden of [
    { script: '/x' },
    { storage: 'vault' },
    { vmid: '100' },
    { id: 'other' },
    { fleecing: 'enabled=1,storage=disks' },
    { 'prune-backups': 'keep-last=1' },
    { pigz: 'x' },
  ])
    assert.throws(() => rig.jobs.create(ACTOR, { ...job, options: { ...options, 'without-effect': hidden } }), {
      code: 'bad-argument',
      message: /without-effect/,
    });
  // Set on the machine beside what a client left there: the rule that counts is the one that is shown.
  const idle = { fleecing: 'enabled=0', 'prune-backups': 'keep-all=1' };
  const real = { 'fleecing-storage': 'disks', 'keep-last': 2 };
  rig.jobs.create(ACTOR, { ...job, options: { ...options, ...real, 'without-effect': idle } });
  const row = await rig.data<Row>('GET', `${PATH}/hidden`);
  assert.deepEqual([row.fleecing, row['prune-backups']], [{ enabled: 1, storage: 'disks' }, 'keep-last=2']);
  await rig.data('PUT', `${PATH}/hidden`, { comment: 'ours' });
  assert.deepEqual(kept(rig).options, { ...options, ...real });
});

test('a job that is changed while another change looks at its storage is judged as it is then', async (t) => {
  const rig = await open(t);
  await rig.grant('mover@pve', { '/': 'Admin', '/storage/vault': 'PVEDatastoreUser' });
  await rig.data('POST', PATH, { id: 'nightly', storage: 'tank', schedule: 'daily', all: 1 });
  const list = rig.storages.list;
  let wasChanged = false;
  rig.storages.list = async () => {
    if (!wasChanged) {
      wasChanged = true;
      const options = { node: 'localhost', store: 'tank', all: true, 'keep-last': 1 };
      rig.jobs.update(ACTOR, { kind: 'vzdump', id: 'nightly' }, { options });
    }
    return await list();
  };
  const { reason } = await rig.call('mover@pve', 'PUT', `${PATH}/nightly`, { storage: 'vault' });
  assert.equal(wasChanged, true);
  assert.match(reason, /\/storage\/vault, Datastore.Allocate\)/);
  assert.deepEqual([kept(rig).options.store, kept(rig).options['keep-last']], ['tank', 1]);
});

test('which guests no job covers that runs by itself, and which disks of a job are in its backups', async (t) => {
  const rig = await open(t);
  const disks = { scsi0: 'disks:vm-101-disk-0,size=1G', scsi1: 'disks:vm-101-disk-1,backup=0,size=1G' };
  rig.guests.add(101, { ...disks, ide2: 'none,media=cdrom', unused0: 'disks:vm-101-disk-2', name: 'web' });
  const left = async () =>
    (await rig.data<{ vmid: number }[]>('GET', '/cluster/backup-info/not-backed-up')).map(({ vmid }) => vmid);
  assert.deepEqual(await left(), [100, 101, 102]);
  await rig.data('POST', PATH, { id: 'some', storage: 'tank', schedule: 'daily', vmid: '101,555' });
  assert.deepEqual(await left(), [100, 102]);
  await rig.data('POST', PATH, { id: 'most', storage: 'tank', schedule: 'daily', exclude: '102' });
  assert.deepEqual(await left(), [102]);
  await rig.data('PUT', `${PATH}/most`, { enabled: 0 });
  assert.deepEqual(await left(), [100, 102]);
  const byHand = { kind: 'vzdump', id: 'hand', options: { node: 'localhost', store: 'tank', all: true } };
  rig.jobs.create(ACTOR, byHand);
  assert.deepEqual(await left(), [100, 102], 'what only a hand starts covers nothing');
  const { children } = await rig.data<{ children: Row[] }>('GET', `${PATH}/some/included_volumes`);
  assert.deepEqual(children, [
    {
      ...{ id: 101, type: 'qemu', name: 'web' },
      children: [
        { id: 'scsi0', name: 'disks:vm-101-disk-0', included: 1, reason: 'enabled' },
        { id: 'scsi1', name: 'disks:vm-101-disk-1', included: 0, reason: 'disabled: backup=0' },
      ],
    },
    { id: 555, type: 'unknown', children: [] },
  ]);
  const most = await rig.data<{ children: { id: number }[] }>('GET', `${PATH}/most/included_volumes`);
  assert.deepEqual(
    most.children.map(({ id }) => id),
    [100, 101],
  );
  await rig.grant('auditor@pve', { '/': 'PVEAuditor', '/vms/100': 'NoAccess', '/vms/555': 'NoAccess' });
  for (const [id, seen] of [
    ['most', [101]],
    ['some', [101]],
  ] as const) {
    const { json } = await rig.call('auditor@pve', 'GET', `${PATH}/${id}/included_volumes`);
    const { children: rows } = json.data as { children: { id: number }[] };
    assert.deepEqual(
      rows.map((row) => row.id),
      seen,
      'guests that the caller may not look at are not there',
    );
  }
  assert.deepEqual(rig.bugs, []);
});

test('tags that the command line has given a job narrow what it covers, stay through changes, and go when guests are named', async (t) => {
  const rig = await open(t);
  rig.guests.add(101, { name: 'web', tags: 'office;web' });
  await rig.data('POST', PATH, { id: 'tagged', storage: 'tank', schedule: 'daily', all: 1 });
  const { jobs } = rig;
  jobs.amend(ACTOR, { kind: 'vzdump', id: 'tagged' }, { set: { tags: ['web'] }, unset: [] });
  const left = async () =>
    (await rig.data<{ vmid: number }[]>('GET', '/cluster/backup-info/not-backed-up')).map(({ vmid }) => vmid);
  assert.deepEqual(await left(), [100, 102]);
  await rig.data('PUT', `${PATH}/tagged`, { comment: 'still', all: 1 });
  assert.deepEqual(await left(), [100, 102]);
  const { children } = await rig.data<{ children: { id: number }[] }>('GET', `${PATH}/tagged/included_volumes`);
  assert.deepEqual(
    children.map(({ id }) => id),
    [101],
  );
  await rig.data('PUT', `${PATH}/tagged`, { vmid: '100' });
  assert.deepEqual(await left(), [101, 102]);
});

const HOSTILE = [
  '',
  ' ',
  '-1',
  '1e999',
  '99999999999',
  '__proto__',
  '../x',
  'a\nb',
  ',',
  '=',
  'a=',
  '=1,__proto__=2',
  'x'.repeat(5000),
];

test('whatever stands in a field, a job is made as it reads afterwards, or refused in words', async (t) => {
  const rig = await open(t);
  const good = { id: 'fuzzed', storage: 'tank', schedule: 'daily', vmid: '100' };
  const seen = new Map<number, number>();
  for (const name of [
    ...Object.keys(BACKUP_FIELDS),
    'schedule',
    'starttime',
    'dow',
    'enabled',
    'comment',
    'id',
    'delete',
  ])
    for (const value of HOSTILE) {
      const { status, json } = await rig.call(ROOT, 'POST', PATH, { ...good, [name]: value });
      const place = `${name}=${JSON.stringify(value.slice(0, 40))}: ${status} ${JSON.stringify(json)}`;
      assert.deepEqual(rig.bugs, [], place);
      seen.set(status, (seen.get(status) ?? 0) + 1);
      if (status !== 200) {
        assert.ok((json.message ?? '').length > 3, place);
        assert.deepEqual(rig.jobs.list(), [], place);
        continue;
      }
      const [row] = await rig.data<Row[]>('GET', PATH);
      assert.equal(row?.storage, 'tank', place);
      // What was read can be written again, as clients do that change one field.
      const { type: _type, 'next-run': _next, fleecing, performance: _performance, id, ...fields } = row as Row;
      assert.equal(fleecing === undefined || typeof fleecing === 'object', true, place);
      assert.equal(await rig.data('PUT', `${PATH}/${id}`, fields as Parameters), null, place);
      assert.deepEqual((await rig.data<Row[]>('GET', PATH))[0], row, place);
      await rig.data('DELETE', `${PATH}/${id}`);
    }
  assert.ok((seen.get(400) ?? 0) > 200, JSON.stringify([...seen]));
});
