// holdfast prune simulate as users run it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '../../src/util/errors.ts';
import { holdfast, messageOf } from './holdfast.ts';

interface Simulated {
  readonly zone: string;
  readonly from: number;
  readonly until: number;
  readonly made: number;
  readonly pruned: number;
  readonly most: number;
  readonly kept: number;
  readonly oldest: number | null;
  readonly snapshots: readonly { time: number; local: string; keep: boolean; rule: string | null; reason: string }[];
}

const env = { TZ: 'Europe/Berlin' };
const simulate = async (...args: string[]): Promise<Simulated> => {
  const ran = await holdfast(['prune', 'simulate', ...args, '--output-format', 'json'], { env });
  assert.equal(ran.code, 0, ran.stderr);
  return JSON.parse(ran.stdout.toString()) as Simulated;
};
const refused = async (code: ErrorCode, ...args: string[]): Promise<string> =>
  messageOf(await holdfast(['prune', 'simulate', ...args, '--output-format', 'json'], { env }), code);
const MARCH = ['--from', '2026-03-23', '--until', '2026-04-05'];
const locals = ({ snapshots }: Simulated): string[] => snapshots.map(({ local }) => local);

test('every night of a span, over a change of the clocks, in local time; both its days are in it', async () => {
  const all = await simulate(...MARCH, '--schedule', '02:30', '--keep-last', '3', '--keep-weekly', '2');
  assert.deepEqual(all.snapshots, [
    {
      time: Date.parse('2026-03-29T01:00:00Z') / 1000,
      local: 'Sun 2026-03-29 03:00:00 +0200',
      keep: true,
      rule: 'keep-weekly',
      reason: 'keep-weekly 1 of 2: the newest of the week from 2026-03-23',
    },
    ...[3, 4, 5].map((day, at) => ({
      time: Date.parse(`2026-04-0${day}T00:30:00Z`) / 1000,
      local: `${['Fri', 'Sat', 'Sun'][at]} 2026-04-0${day} 02:30:00 +0200`,
      keep: true,
      rule: 'keep-last',
      reason: `keep-last ${3 - at} of 3: ${at === 2 ? 'the newest' : 'one of the 3 newest'}`,
    })),
  ]);
  const { snapshots: _, ...summary } = all;
  assert.deepEqual(summary, {
    ...{ zone: 'Europe/Berlin', made: 14, pruned: 14, most: 5, kept: 4, oldest: all.snapshots[0]?.time },
    from: Date.parse('2026-03-23T00:00:00+01:00') / 1000,
    until: Date.parse('2026-04-05T23:59:59+02:00') / 1000,
  });
});

test('several schedules are merged; prunes by a schedule of their own leave what is newer than they', async () => {
  const twice = ['--schedule', '02:00', 'sat 12:00', '--schedule', '02:00', 'sun 12:00'];
  const never = await simulate(...MARCH, ...twice, '--keep-last', '1', '--prune-schedule', '2025-1-1');
  assert.deepEqual([never.made, never.pruned, never.kept], [18, 0, 18]);
  assert.deepEqual(
    never.snapshots.map(({ keep }) => keep),
    [...Array.from({ length: 17 }, () => false), true],
  );
  const weekly = await simulate(...MARCH, ...twice, '--keep-last', '1', '--prune-schedule', 'sat 02:00');
  assert.deepEqual(locals(weekly), [
    'Sat 2026-04-04 02:00:00 +0200',
    'Sat 2026-04-04 12:00:00 +0200',
    'Sun 2026-04-05 02:00:00 +0200',
    'Sun 2026-04-05 12:00:00 +0200',
  ]);
});

test('spans: so many days from a day, up to a day, up to now; times; and without rules', async () => {
  const spanOf = async (...args: string[]): Promise<[number, string, string]> => {
    const { made, from, until } = await simulate('--keep-last', '1', '--schedule', '12:00', ...args);
    return [made, new Date(from * 1000).toISOString(), new Date(until * 1000).toISOString()];
  };
  const whole = [3, '2026-03-27T23:00:00.000Z', '2026-03-30T21:59:59.000Z'];
  assert.deepEqual(await spanOf('--from', '2026-03-28', '--days', '3'), whole);
  assert.deepEqual(await spanOf('--until', '2026-03-30', '--days', '3'), whole);
  assert.deepEqual(await spanOf('--from', '2026-03-28', '--until', '2026-03-30'), whole);
  const exact = ['--from', '2026-03-28T11:00:00Z', '--until', '2026-03-29T10:00:00Z'];
  assert.equal((await spanOf(...exact))[0], 2, 'both ends are in it');
  const usual = await holdfast(['prune', 'simulate', '--output-format', 'json'], { env });
  const { made, kept, until, snapshots } = JSON.parse(usual.stdout.toString()) as Simulated;
  assert.deepEqual([made, kept], [365, 365]);
  assert.ok(Math.abs(until - Date.now() / 1000) < 60);
  assert.equal(snapshots[0]?.rule, 'keep-all');
  assert.match(usual.stderr, /^warning: no keep rule was given/);
});

test('as text: a table and what it comes to', async () => {
  const ran = await holdfast(['prune', 'simulate', '--keep-daily', '2', '--from', '2026-07-01', '--days', '9'], {
    env,
  });
  assert.equal(
    ran.stdout.toString(),
    `made                           next prune  reason
Wed 2026-07-08 02:00:00 +0200  keep        keep-daily 2 of 2: the newest of 2026-07-08
Thu 2026-07-09 02:00:00 +0200  keep        keep-daily 1 of 2: the newest of 2026-07-09

9 snapshots made from Wed 2026-07-01 00:00:00 +0200 to Thu 2026-07-09 23:59:59 +0200, pruned 9 times
2 are there at the end, the oldest 1 day old; there were at most 3
days and weeks are those of Europe/Berlin
`,
  );
});

test('what cannot be simulated is refused in words', async () => {
  const rule = ['--keep-last', '3'];
  assert.match(await refused('bad-argument', ...rule, '--schedule', 'blue moon'), /blue/);
  assert.match(await refused('bad-argument', ...rule, ...MARCH, '--days', '3'), /give two of/);
  assert.match(
    await refused('bad-argument', ...rule, '--from', '2026-04-01', '--until', '2026-03-01'),
    /end before it/,
  );
  assert.match(await refused('bad-argument', ...rule, '--from', '2026-02-30'), /2026-02-30 is no day/);
  await refused('bad-name', ...rule, '--from', 'yesterday');
  await refused('bad-argument', ...rule, '--days', '0');
  assert.match(await refused('too-many', ...rule, '--schedule', 'minutely'), /20000 backups/);
  assert.match(await refused('too-many', ...rule, '--prune-schedule', 'minutely'), /20000 prunes/);
  assert.match(
    await refused('too-large', '--keep-last', '100000', '--schedule', 'hourly', '--days', '800'),
    /--prune-schedule/,
  );
  for (const option of ['--group=vm/1', '--all-groups', '--dry-run', '--explain', '--force-empty'])
    assert.match(await refused('bad-argument', ...rule, option), new RegExp(`leave ${option.split('=')[0]} away`));
  await refused('bad-argument', '--keep-last', 'x');
  const nothing = await holdfast(['prune', 'simulate', ...rule, '--schedule', '2020-1-1'], { env });
  assert.equal(nothing.code, 0);
  assert.match(nothing.stderr, /comes to no backup in this time/);
});
