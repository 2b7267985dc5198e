// holdfast prune and snapshot lock as users run them.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { holdfast, type ListedJson, listed, messageOf, newPlace, type Place, start } from './holdfast.ts';

interface Row {
  readonly snapshot: string;
  readonly time: number;
  readonly keep: boolean;
  readonly rule: string | null;
  readonly reason: string;
}

/** A place with snapshots of these labels. */
async function withSnapshots(t: TestContext, labels: readonly string[], ...more: string[]): Promise<Place> {
  const place = await newPlace(t);
  await addSnapshots(place, 'vm/101', labels, ...more);
  return place;
}

async function addSnapshots(place: Place, group: string, labels: readonly string[], ...more: string[]): Promise<void> {
  writeFileSync(place.path('a.conf'), 'a');
  for (const label of labels)
    await place.run('backup', '--group', group, `a.conf:${place.path('a.conf')}`, '--time', label, ...more);
}

const rulesOf = (rows: readonly Row[]): (string | null)[] => rows.map(({ rule }) => rule);
const edit = (place: Place, snapshot: string): void => {
  const path = join(place.repository, 'snapshots', snapshot, 'manifest.json');
  writeFileSync(path, readFileSync(path, 'utf8').replace('"notes": ""', '"notes": "edited"'));
};

const DAYS = ['2026-03-01', '2026-03-02', '2026-03-03', '2026-03-04'].map((day) => `${day}T01:00:00Z`);
const NAMES = DAYS.map((label) => `vm/101/${label}`);

test('the plan, then exactly that: JSON, oldest first, and the snapshots that are left', async (t) => {
  const place = await withSnapshots(t, DAYS);
  const planned = await place.json<Row[]>('prune', '--keep-last', '1', '--keep-daily', '1', '--dry-run');
  assert.deepEqual(
    planned,
    NAMES.map((snapshot, at) => ({
      snapshot,
      time: Date.parse(DAYS[at] as string) / 1000,
      keep: at >= 2,
      rule: [null, null, 'keep-daily', 'keep-last'][at],
      reason: [
        'beyond the 1 newest of keep-last and the 1 day of keep-daily',
        'beyond the 1 newest of keep-last and the 1 day of keep-daily',
        `keep-daily 1 of 1: the newest of ${new Date(DAYS[2] as string).toLocaleDateString('sv')}`,
        'keep-last 1 of 1: the newest',
      ][at],
    })),
  );
  assert.deepEqual(await listed(place), NAMES, 'a dry run removes nothing');
  const done = await place.json<Row[]>('prune', '--keep-last', '1', '--keep-daily', '1');
  assert.deepEqual(done, planned);
  assert.deepEqual(await listed(place), NAMES.slice(2));
});

test('as text: the plan, what it comes to, and what was done', async (t) => {
  const place = await withSnapshots(t, DAYS);
  const env = { TZ: 'Europe/Berlin' };
  const dry = (await place.try(['prune', '--keep-last=3', '--dry-run'], { env })).stdout.toString();
  assert.match(
    dry,
    /^snapshot +plan +rule\nvm\/101\/2026-03-01T01:00:00Z +remove\nvm\/101\/2026-03-02\S+ +keep +keep-last\n/,
  );
  assert.match(
    dry,
    /\n\n3 stay, 1 go; days and weeks are those of Europe\/Berlin; nothing was removed \(--dry-run\)\n$/,
  );
  const done = (await place.try(['prune', '--keep-last=3'], { env })).stdout.toString();
  assert.equal(done, `${dry.replace('; nothing was removed (--dry-run)\n', '')}\nremoved 1 of 4 snapshots\n`);
  assert.deepEqual(await listed(place), NAMES.slice(1));
});

test('with --explain each snapshot has a reason, before it goes too', async (t) => {
  const place = await withSnapshots(t, DAYS);
  await place.run('snapshot', 'protect', NAMES[0] as string);
  const env = { TZ: 'UTC' };
  const ran = await place.try(['prune', '--keep-last=1', '--keep-monthly=1', '--explain'], { env });
  const cells = ran.stdout
    .toString()
    .split('\n')
    .slice(0, 5)
    .map((line) => line.split(/ {2,}/));
  assert.deepEqual(cells, [
    ['snapshot', 'plan', 'reason'],
    [NAMES[0], 'keep', 'protected: it stays, and takes no place of another one'],
    ...[1, 2].map((n) => [
      NAMES[n],
      'remove',
      `beyond the 1 newest of keep-last; 2026-03 has ${DAYS[3]} already (keep-last)`,
    ]),
    [NAMES[3], 'keep', 'keep-last 1 of 1: the newest'],
  ]);
  assert.match(ran.stdout.toString(), /\nremoved 2 of 4 snapshots\n$/);
});

test('days are those of TZ, and a zone that nobody knows is said', async (t) => {
  const labels = ['2026-03-01T21:30:00Z', '2026-03-01T22:30:00Z', '2026-03-01T23:30:00Z'];
  const place = await withSnapshots(t, labels);
  const keeps = async (zone: string): Promise<boolean[]> => {
    const ran = await place.try(['prune', '--keep-daily', '9', '--dry-run', '--output-format', 'json'], {
      env: { TZ: zone },
    });
    assert.equal(/TZ=\S+ is no time zone/.test(ran.stderr), zone === 'Mars/Olympus', ran.stderr);
    return (JSON.parse(ran.stdout.toString()) as Row[]).map(({ keep }) => keep);
  };
  assert.deepEqual(await keeps('UTC'), [false, false, true]);
  assert.deepEqual(await keeps('Europe/Berlin'), [false, true, true]);
  assert.deepEqual(await keeps('Europe/Athens'), [true, false, true]);
  assert.deepEqual(await keeps('Mars/Olympus'), [false, false, true]);
});

describe('what the options choose', () => {
  test('without rules everything stays, and that is said', async (t) => {
    const place = await withSnapshots(t, DAYS.slice(0, 2));
    const ran = await place.try(['prune', '--output-format', 'json']);
    assert.equal(ran.code, 0);
    assert.match(ran.stderr, /^warning: no keep rule was given .* every snapshot is kept\n$/);
    assert.deepEqual(rulesOf(JSON.parse(ran.stdout.toString())), ['keep-all', 'keep-all']);
    assert.equal((await listed(place)).length, 2);
  });

  test('rules that keep nothing are asked for twice', async (t) => {
    const place = await withSnapshots(t, DAYS.slice(0, 2));
    const nothing = ['prune', '--keep-last', '0', '--keep-daily', '0'];
    assert.match(await place.fails('bad-argument', ...nothing), /keep nothing: .* add --force-empty/);
    assert.deepEqual(rulesOf(await place.json<Row[]>(...nothing, '--dry-run')), [null, null]);
    assert.equal((await listed(place)).length, 2);
    for (const rules of [[], ['--keep-last', '1'], ['--keep-last', '0', '--keep-daily', '1']])
      assert.match(await place.fails('bad-argument', 'prune', '--force-empty', ...rules), /--force-empty is only for/);
    await place.run('snapshot', 'protect', NAMES[0] as string);
    assert.deepEqual(rulesOf(await place.json<Row[]>(...nothing, '--force-empty')), ['protected', null]);
    assert.deepEqual(await listed(place), NAMES.slice(0, 1));
  });

  test('one group, all of a namespace, and no other namespace', async (t) => {
    const place = await withSnapshots(t, DAYS.slice(0, 2));
    await addSnapshots(place, 'ct/7', DAYS.slice(0, 2));
    await addSnapshots(place, 'vm/101', DAYS.slice(0, 2), '--ns', 'office');
    const one = await place.json<Row[]>('prune', '--group', 'ct/7', '--keep-last', '1');
    assert.deepEqual(
      one.map(({ snapshot }) => snapshot),
      DAYS.slice(0, 2).map((label) => `ct/7/${label}`),
    );
    assert.equal((await listed(place)).length, 3);
    const all = await place.json<Row[]>('prune', '--all-groups', '--keep-last', '1');
    assert.deepEqual(
      all.map(({ keep }) => keep),
      [false, true, true],
      'groups in the order of their names, each oldest first',
    );
    assert.equal((await listed(place, '--ns', 'office')).length, 2);
    assert.match(await place.fails('not-found', 'prune', '--group', 'vm/999', '--keep-last', '1'), /no group vm\/999/);
    const elsewhere = ['prune', '--group', 'ct/7', '--ns', 'office', '--keep-last', '1'];
    assert.match(await place.fails('not-found', ...elsewhere), /no group ct\/7 in namespace office/);
    await place.fails('bad-argument', 'prune', '--group', 'ct/7', '--all-groups', '--keep-last', '1');
    await addSnapshots(place, 'host/x', DAYS.slice(0, 2));
    const both = ['prune', '--keep-last', '0', '--dry-run', '--group', 'vm/101', 'ct/7', '--group', 'ct/7'];
    assert.deepEqual(
      (await place.json<Row[]>(...both)).map(({ snapshot }) => snapshot),
      [`vm/101/${DAYS[1]}`, `ct/7/${DAYS[1]}`],
      'several, in the order in which they are listed, each once',
    );
    assert.equal(
      (await place.try(['prune', 'simulat', '--keep-last', '1'])).code,
      2,
      'a misspelt simulation prunes nothing',
    );
    assert.equal((await place.json<{ made: number }>('prune', 'simulate', '--keep-last', '1')).made, 365);
    await place.fails('not-found', 'prune', '--keep-last', '1', '--group', 'vm/101', 'vm/999');
    await place.fails('bad-name', 'prune', '--keep-last', '1', '--group', 'vm/101', 'nothing');
    assert.equal((await listed(place)).length, 4, 'nothing went by any of these');
    assert.deepEqual(await place.json('prune', '--ns', 'empty', '--keep-last', '1'), []);
  });

  test('counts that are none', async (t) => {
    const place = await newPlace(t);
    for (const count of ['-1', '1.5', 'x', '', '1000001', '1e3'])
      assert.match(await place.fails('bad-argument', 'prune', `--keep-weekly=${count}`), /^--keep-weekly takes/);
    assert.deepEqual(await place.json('prune', '--keep-yearly', '1000000'), []);
  });
});

test('an altered manifest is said and kept, and the plan of the rest is as without it', async (t) => {
  const place = await withSnapshots(t, DAYS);
  edit(place, NAMES[3] as string);
  const ran = await place.try(['prune', '--keep-last', '1', '--output-format', 'json']);
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /warning: vm\/101\/2026-03-04T01:00:00Z is kept and does not count: .*edited by hand/);
  assert.deepEqual(rulesOf(JSON.parse(ran.stdout.toString())), [null, null, 'keep-last', 'altered']);
  assert.deepEqual(await listed(place), NAMES.slice(2));
});

test('a locked snapshot: forget and prune leave it, show and list name it, and nothing shortens the lock', async (t) => {
  const place = await newPlace(t, { create: false });
  const created = await place.json<{ maxLockMs: number }>('datastore', 'create', '--max-lock', '60d');
  assert.equal(created.maxLockMs, 60 * 86_400_000);
  await addSnapshots(place, 'vm/101', DAYS);
  const [locked] = NAMES as [string];
  const text = (await place.run('snapshot', 'lock', locked, '--for', '30d')).stdout.toString();
  assert.match(
    text,
    /^vm\/101\/2026-03-01T01:00:00Z is locked for another (30 d|29 d 23 h) of store clock, until \d{4}-/,
  );
  assert.match(await place.fails('retention-locked', 'snapshot', 'forget', locked), /locked for another .* nobody can/);
  assert.match(await place.fails('retention-locked', 'snapshot', 'lock', locked, '--for', '1h'), /never shortened/);
  assert.match(await place.fails('too-large', 'snapshot', 'lock', locked, '--for', '61d'), /at most 60 d$/);
  await place.fails('bad-argument', 'snapshot', 'lock', locked, '--for', '0d');
  await place.fails('bad-argument', 'snapshot', 'lock', locked, '--for', 'ever');
  await place.run('snapshot', 'note', locked, 'signed');
  await place.run('snapshot', 'protect', locked, '--off');
  assert.deepEqual(rulesOf(await place.json<Row[]>('prune', '--keep-last', '2')), [
    'locked',
    null,
    'keep-last',
    'keep-last',
  ]);
  const rows = await place.json<(ListedJson & { lockRemainingMs: number | null })[]>('snapshot', 'list');
  assert.deepEqual(
    rows.map(({ snapshot, lockRemainingMs }) => [snapshot, lockRemainingMs !== null]),
    [
      [locked, true],
      [NAMES[2], false],
      [NAMES[3], false],
    ],
  );
  assert.ok((rows[0]?.lockRemainingMs ?? 0) > 29 * 86_400_000);
  assert.match(
    (await place.run('snapshot', 'list')).stdout.toString(),
    /a\.conf {3}locked {2}signed|a\.conf +locked +signed/,
  );
  const shown = await place.json<{ lockedUntilClockMs: number; lockRemainingMs: number; notes: string }>(
    'snapshot',
    'show',
    locked,
  );
  assert.equal(shown.notes, 'signed');
  assert.ok(shown.lockedUntilClockMs >= 30 * 86_400_000 && shown.lockRemainingMs <= shown.lockedUntilClockMs);
  assert.match(
    (await place.run('snapshot', 'show', locked)).stdout.toString(),
    /\nlocked +for another .* of store clock/,
  );
  assert.match((await place.run('snapshot', 'show', NAMES[3] as string)).stdout.toString(), /\nlocked +no\n/);

  // Years pass on the store clock.
  writeFileSync(join(place.repository, 'clock.json'), JSON.stringify({ elapsedMs: 3 * 365 * 86_400_000 }));
  assert.equal((await place.json<{ lockRemainingMs: null }>('snapshot', 'show', locked)).lockRemainingMs, null);
  assert.deepEqual(rulesOf(await place.json<Row[]>('prune', '--keep-last', '2')), [null, 'keep-last', 'keep-last']);
  assert.deepEqual(await listed(place), NAMES.slice(2));
});

test('a damaged store clock: what is not locked is still listed and shown, and prune refuses to guess', async (t) => {
  const place = await withSnapshots(t, DAYS.slice(0, 2));
  writeFileSync(join(place.repository, 'clock.json'), '{"elapsedMs":');
  assert.deepEqual(await listed(place), NAMES.slice(0, 2));
  await place.run('snapshot', 'show', NAMES[0] as string);
  assert.match(await place.fails('datastore-damaged', 'prune', '--keep-last', '1'), /clock\.json is damaged/);
});

test('a datastore without locks, and a --max-lock that is no duration', async (t) => {
  const place = await newPlace(t, { create: false });
  await place.fails('bad-argument', 'datastore', 'create', '--max-lock', 'long');
  await place.run('datastore', 'create', '--max-lock', '0d');
  await addSnapshots(place, 'vm/101', DAYS.slice(0, 1));
  await place.fails('too-large', 'snapshot', 'lock', NAMES[0] as string, '--for', '1s');
});

test('where there is no datastore, and help', async () => {
  messageOf(
    await holdfast(['prune', '--keep-last', '1', '--repository', '/nowhere', '--output-format', 'json']),
    'datastore-foreign',
  );
  const help = (await holdfast(['prune', '--help'])).stdout.toString();
  for (const rule of ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'])
    assert.match(help, new RegExp(`--keep-${rule} <N>`));
});

test('beside a backup in another process, prune and lock run there', async (t) => {
  const place = await withSnapshots(t, DAYS);
  const options = { env: { HOLDFAST_REPOSITORY: place.repository } };
  const backup = start(['backup', '--group', 'vm/200', 'disk0.img:-'], options);
  backup.child.stdin?.write(Buffer.alloc(100_000, 7));
  while (readdirSync(join(place.repository, 'sessions')).length === 0) await setTimeout(20);
  await place.run('snapshot', 'lock', NAMES[1] as string, '--for', '1d');
  await place.fails('retention-locked', 'snapshot', 'lock', NAMES[1] as string, '--for', '1h');
  const rows = await place.json<Row[]>('prune', '--group', 'vm/101', '--keep-last', '1');
  assert.deepEqual(rulesOf(rows), [null, 'locked', null, 'keep-last']);
  assert.deepEqual(await listed(place), [NAMES[1], NAMES[3]]);
  assert.equal(backup.child.exitCode, null, 'it went on meanwhile');
  backup.child.stdin?.end();
  assert.equal((await backup.ended).code, 0);
});
