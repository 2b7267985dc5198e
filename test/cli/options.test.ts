// Options that every command takes, usage errors, and what help says.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { holdfast, listed, messageOf, newPlace } from './holdfast.ts';

test('common options stand before or after the command', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'a');
  const common = ['--repository', place.repository, '--ns', 'office/prod', '--output-format', 'json'];
  const backup = ['backup', '--group', 'host/web', `a.conf:${place.path('a.conf')}`];
  const list = ['snapshot', 'list'];
  for (const args of [
    [...common, ...backup],
    [...backup, ...common],
    [...common.slice(0, 2), ...backup, ...common.slice(2)],
  ]) {
    const ran = await holdfast(args);
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(JSON.parse(ran.stdout.toString()).snapshot, /^host\/web\//);
  }
  for (const args of [
    [...common, ...list],
    ['snapshot', ...common, 'list'],
    [...list, ...common],
  ]) {
    const ran = await holdfast(args);
    assert.equal(JSON.parse(ran.stdout.toString()).length, 3, args.join(' '));
  }
});

test('the repository comes from the environment when no option names one', async (t) => {
  const [here, there] = [await newPlace(t), await newPlace(t)];
  const status = async (args: string[], env: Record<string, string>) => {
    const ran = await holdfast(['datastore', 'status', '--output-format', 'json', ...args], { env });
    return ran.code === 0 ? JSON.parse(ran.stdout.toString()).repository : messageOf(ran, 'bad-argument');
  };
  assert.equal(await status([], { HOLDFAST_REPOSITORY: here.repository }), here.repository);
  assert.equal(
    await status(['--repository', there.repository], { HOLDFAST_REPOSITORY: here.repository }),
    there.repository,
  );
  assert.match(await status([], {}), /Give --repository DIR, or set HOLDFAST_REPOSITORY/);
  const relative = await holdfast(['datastore', 'status', '--repository', 'store', '--output-format=json'], {
    cwd: here.directory,
  });
  assert.equal(JSON.parse(relative.stdout.toString()).repository, here.repository);
});

test('namespaces keep groups of one name apart', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'a');
  const backup = ['backup', '--group', 'vm/101', `a.conf:${place.path('a.conf')}`];
  await place.run(...backup);
  await place.run(...backup, '--ns', 'office');
  await place.run(...backup, '--ns', 'office');
  assert.equal((await listed(place)).length, 1);
  const inside = await listed(place, '--ns', 'office');
  assert.equal(inside.length, 2);
  assert.deepEqual(await listed(place, '--ns', 'elsewhere'), []);
  await place.run('snapshot', 'forget', 'vm/101/latest', '--ns', 'office');
  assert.deepEqual(await listed(place, '--ns', 'office'), inside.slice(0, 1));
  assert.equal((await listed(place)).length, 1);
  assert.match(
    await place.fails('not-found', 'restore', 'vm/101/latest', 'a.conf', '-', '--ns', 'elsewhere'),
    /in namespace elsewhere/,
  );
  const { namespaces, groups, snapshots } = await place.json<Record<string, number>>('datastore', 'status');
  assert.deepEqual([namespaces, groups, snapshots], [2, 2, 2]);
});

const usage: Record<string, readonly string[]> = {
  'no command': [],
  'an unknown command': ['backpu'],
  'an unknown option': ['snapshot', 'list', '--al'],
  'an unknown format': ['snapshot', 'list', '--output-format', 'xml'],
  'no group': ['backup', 'disk0.img:/dev/null'],
  'no archive': ['backup', '--group', 'vm/101'],
  'an argument too few': ['restore', 'vm/101/latest', 'disk0.img'],
  'an argument too many': ['snapshot', 'show', 'vm/101/latest', 'vm/102/latest'],
  'a group of commands alone': ['snapshot'],
};
for (const [what, args] of Object.entries(usage)) {
  test(`${what}: exit code 2, a hint on stderr, nothing on stdout`, async () => {
    const ran = await holdfast(args);
    assert.equal(ran.code, 2);
    assert.equal(ran.stdout.length, 0);
    assert.ok(ran.stderr.length > 20, ran.stderr);
  });
}

const badArguments: Record<string, readonly string[]> = {
  'an archive without a path': ['disk0.img'],
  'an archive with an empty path': ['disk0.img:'],
  'a path without an archive': [':/dev/null'],
  'an archive twice': ['a.conf:/etc/hostname', 'a.conf:/etc/hosts'],
  'standard input twice': ['disk0.img:-', 'disk1.img:-'],
  'a small file from standard input': ['a.conf:-'],
  'no threads': ['a.conf:/etc/hostname', '--workers', '0'],
  'threads that are no number': ['a.conf:/etc/hostname', '--workers', 'many'],
  'more threads than 64': ['a.conf:/etc/hostname', '--workers', '65'],
  'level 0': ['a.conf:/etc/hostname', '--compression-level', '0'],
  'level 20': ['a.conf:/etc/hostname', '--compression-level', '20'],
  'level 1.5': ['a.conf:/etc/hostname', '--compression-level', '1.5'],
};
test('arguments that cannot be meant are refused before anything is opened', async (t) => {
  const place = await newPlace(t);
  for (const [what, args] of Object.entries(badArguments)) {
    const message = await place.fails('bad-argument', 'backup', '--group', 'vm/1', ...args);
    assert.ok(message.length > 20, `${what}: ${message}`);
  }
  assert.match(
    await place.fails(
      'bad-argument',
      'datastore',
      'create',
      '--repository',
      place.path('x'),
      '--chunk-average',
      '100K',
    ),
    /64K or 256K/,
  );
  assert.deepEqual(await listed(place), []);
});

test('help and version go to stdout with exit code 0, and help names every command', async () => {
  const help = await holdfast(['--help']);
  assert.equal(help.code, 0);
  for (const name of ['datastore', 'backup', 'restore', 'snapshot', '--repository', '--ns', '--output-format']) {
    assert.ok(help.stdout.toString().includes(name), name);
  }
  assert.match((await holdfast(['--version'])).stdout.toString(), /^\d+\.\d+\.\d+\n$/);
  assert.match((await holdfast(['backup', '--help'])).stdout.toString(), /--changed-since/);
});

test('errors are one line of text, or JSON when JSON was asked for and only then', async (t) => {
  const place = await newPlace(t);
  // "json" as an ordinary word asks for nothing.
  const text = await place.try(['restore', 'vm/9/latest', 'json', 'json-pretty']);
  assert.match(text.stderr, /^holdfast: there is no snapshot vm\/9\/latest.*\n$/);
  for (const format of [['--output-format', 'json'], ['--output-format=json'], ['--output-format', 'json-pretty']]) {
    for (const args of [
      ['restore', 'vm/9/latest', 'x', 'y', ...format],
      [...format, 'restore', 'vm/9/latest', 'x', 'y'],
    ]) {
      assert.match(messageOf(await place.try(args), 'not-found'), /there is no snapshot/);
    }
  }
});
