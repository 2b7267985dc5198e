// Prune jobs of some groups as users set them up, try them out and have them run by a server.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { runsOf } from '../support/server/job-runs.ts';
import { listed, newPlace } from './holdfast.ts';
import { run } from './running-server.ts';

interface Row {
  readonly ns: string;
  readonly snapshot: string;
  readonly keep: boolean;
  readonly reason: string;
}

const DAYS = ['2026-03-01', '2026-03-02', '2026-03-03'].map((day) => `${day}T01:00:00Z`);

test('a prune job of two groups: made, tried out, changed, run; other groups stay as they are', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'a');
  const add = async (group: string, ...more: string[]): Promise<void> => {
    for (const label of DAYS)
      await place.run('backup', '--group', group, `a.conf:${place.path('a.conf')}`, '--time', label, ...more);
  };
  await add('vm/100');
  await add('vm/101');
  await add('vm/100', '--ns', 'office');
  await run(t, place, '--bulk-port', '0');
  const at = ['--state-dir', place.path('server')];
  await place.run('server', 'add-datastore', 'own', place.repository, '--reuse', ...at);
  const job = async <T>(...args: string[]): Promise<T> => await place.json<T>('job', ...args, ...at);
  const refused = async (pattern: RegExp, ...args: string[]): Promise<void> => {
    const ran = await place.try(['job', ...args, ...at]);
    assert.equal(ran.code, 2, ran.stderr);
    assert.match(ran.stderr, pattern);
  };

  const groups = ['--group', 'vm/100', '--group', 'vm/7'];
  const made = await job<{ options: object }>('create', 'prune', 'x', '--store', 'own', '--keep-last', '1', ...groups);
  assert.deepEqual(made.options, { store: 'own', groups: ['vm/100', 'vm/7'], 'keep-last': 1 });
  await refused(/"vm100" is not a valid group/, 'update', 'x', '--group', 'vm100');
  const backup = ['create', 'backup', 'b', '--node', 'n', '--store', 'own', '--archive', 'a.conf:/a'];
  await refused(/--group takes one group here, not 2/, ...backup, '--group', 'host/a', 'host/b');

  // Tried out: nothing is removed, and what the job would warn of is said.
  const dry = await place.try(['job', 'run', 'x', '--dry-run', '--output-format', 'json', ...at]);
  assert.equal(dry.stderr, 'warning: there is no group vm/7: nothing of it is pruned\n');
  assert.deepEqual(
    (JSON.parse(dry.stdout.toString()) as Row[]).map(({ ns, snapshot, keep, reason }) => [ns, snapshot, keep, reason]),
    ['', 'office'].flatMap((ns) => [
      [ns, `vm/100/${DAYS[0]}`, false, 'beyond the 1 newest of keep-last'],
      [ns, `vm/100/${DAYS[1]}`, false, 'beyond the 1 newest of keep-last'],
      [ns, `vm/100/${DAYS[2]}`, true, 'keep-last 1 of 1: the newest'],
    ]),
  );
  const text = (await place.run('job', 'run', 'prune/x', '--dry-run', '--explain', ...at)).stdout.toString();
  assert.match(text, /^namespace +snapshot +plan +reason\n +vm\/100\/\S+ +remove +beyond the 1 newest of keep-last\n/);
  assert.match(text, /\noffice +vm\/100\/2026-03-03T01:00:00Z +keep +keep-last 1 of 1: the newest\n\n2 stay, 4 go; /);
  await refused(/--explain is for --dry-run/, 'run', 'x', '--explain');
  await job('create', 'gc', 'g', '--store', 'own');
  await refused(/--dry-run is for prune jobs, and gc\/g is none/, 'run', 'g', '--dry-run');
  assert.equal((await listed(place)).length, 6);

  await job('update', 'x', '--ns', 'office');
  await job('run', 'x');
  const ofX = async (count: number): Promise<string | undefined> => {
    const ended = await runsOf(
      place.path('server'),
      (runs) => runs.filter(({ id, endMs }) => id === 'x' && endMs !== null).length === count,
      20_000,
    );
    return ended.find(({ id }) => id === 'x')?.state;
  };
  assert.equal(await ofX(1), 'warning', 'for the group that is not there');
  assert.equal((await listed(place, '--ns', 'office')).length, 1);
  assert.equal((await listed(place)).length, 6);

  await refused(/groups or exclude-groups, not both/, 'update', 'x', '--exclude-group', 'vm/1');
  const but = await job<{ options: object }>('update', 'x', '--unset', 'group', '--exclude-group', 'vm/1', 'vm/2');
  assert.deepEqual(but.options, { store: 'own', ns: 'office', 'keep-last': 1, 'exclude-groups': ['vm/1', 'vm/2'] });
  const all = await job<{ options: object }>('update', 'x', '--unset', 'exclude-group', 'ns');
  assert.deepEqual(all.options, { store: 'own', 'keep-last': 1 });
  await job('run', 'x');
  assert.equal(await ofX(2), 'ok');
  assert.deepEqual(await listed(place), [`vm/100/${DAYS[2]}`, `vm/101/${DAYS[2]}`]);
});
