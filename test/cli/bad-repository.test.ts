// Repositories that cannot be used as they are: each says what it is and what to do, and nothing in it changes.
import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRoot, listed, messageOf, newPlace, type Place, start } from './holdfast.ts';

/** Every command, and whether it writes. */
function everyCommand(place: Place): (readonly [writes: boolean, args: readonly string[]])[] {
  return [
    [false, ['datastore', 'status']],
    [false, ['snapshot', 'list']],
    [false, ['snapshot', 'show', 'vm/101/latest']],
    [false, ['restore', 'vm/101/latest', 'a.conf', place.path('out')]],
    [true, ['backup', '--group', 'vm/101', `a.conf:${place.path('a.conf')}`]],
    [true, ['snapshot', 'forget', 'vm/101/latest']],
    [true, ['snapshot', 'note', 'vm/101/latest', 'x']],
    [true, ['snapshot', 'protect', 'vm/101/latest']],
    [true, ['datastore', 'unlock']],
  ];
}

async function placeWithSnapshot(t: Parameters<typeof newPlace>[0]): Promise<Place> {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'content');
  await place.run('backup', '--group', 'vm/101', `a.conf:${place.path('a.conf')}`);
  return place;
}

test('a directory that is not ours, and one that is not there, are left alone', async (t) => {
  const place = await newPlace(t, { create: false });
  writeFileSync(place.path('a.conf'), 'a');
  mkdirSync(place.repository);
  writeFileSync(join(place.repository, 'holiday.jpg'), 'x');
  for (const [, args] of everyCommand(place)) {
    assert.match(await place.fails('datastore-foreign', ...args), /not a Holdfast datastore.*datastore create/);
  }
  assert.match(await place.fails('exists', 'datastore', 'create'), /is not empty/);
  assert.deepEqual(readdirSync(place.repository), ['holiday.jpg']);
  await place.fails('datastore-foreign', 'snapshot', 'list', '--repository', place.path('nowhere'));
  await place.fails('datastore-foreign', 'snapshot', 'list', '--repository', place.path('a.conf'));
  assert.deepEqual(readdirSync(place.directory).sort(), ['a.conf', 'store']);
});

test('create makes missing directories, takes an empty one and a symbolic link, and never a second time', async (t) => {
  const place = await newPlace(t, { create: false });
  await place.run('datastore', 'create', '--repository', place.path('deep/er/store'));
  mkdirSync(place.path('empty'));
  mkdirSync(place.path('empty/lost+found'));
  symlinkSync(place.path('empty'), place.path('link'));
  await place.run('datastore', 'create', '--repository', place.path('link'));
  const before = readFileSync(place.path('empty/datastore.json'), 'utf8');
  await place.fails('exists', 'datastore', 'create', '--repository', place.path('empty'));
  assert.equal(readFileSync(place.path('empty/datastore.json'), 'utf8'), before);
  writeFileSync(place.path('file'), 'x');
  await place.fails('exists', 'datastore', 'create', '--repository', place.path('deep/er'));
});

const configs: Record<string, (config: Record<string, unknown>) => unknown> = {
  'a newer format': (config) => ({ ...config, format: 2 }),
  'a feature that nobody here knows': (config) => ({ ...config, features: features('incompatible', 'file-trees') }),
};
for (const [what, change] of Object.entries(configs)) {
  test(`${what}: nothing opens it, and the message says so`, async (t) => {
    const place = await placeWithSnapshot(t);
    changeConfig(place, change);
    for (const [, args] of everyCommand(place).filter((_, at) => at % 2 === 1)) {
      assert.match(await place.fails('datastore-newer', ...args), /use a newer Holdfast/);
    }
  });
}

test('a feature for reading only: what reads works, what writes says why not', async (t) => {
  const place = await placeWithSnapshot(t);
  changeConfig(place, (config) => ({ ...config, features: features('readOnlyCompatible', 'delta-records') }));
  for (const [writes, args] of everyCommand(place)) {
    if (args[1] === 'unlock') continue;
    if (writes) assert.match(await place.fails('datastore-newer', ...args), /can only read.*delta-records/);
    else await place.run(...args);
  }
});

test('a feature that does not matter does not matter', async (t) => {
  const place = await placeWithSnapshot(t);
  changeConfig(place, (config) => ({ ...config, features: features('compatible', 'colours') }));
  const path = join(place.repository, 'datastore.json');
  const before = readFileSync(path, 'utf8');
  await place.run('backup', '--group', 'vm/101', `a.conf:${place.path('a.conf')}`);
  await place.run('datastore', 'gc');
  await place.run('datastore', 'repair');
  assert.equal(readFileSync(path, 'utf8'), before, 'its name was lost');
});

test('a store from before the freeze of the format opens, and keeps its name', async (t) => {
  const place = await placeWithSnapshot(t);
  changeConfig(place, (config) => ({ ...config, features: features('incompatible', 'draft-1') }));
  await place.run('backup', '--group', 'vm/101', `a.conf:${place.path('a.conf')}`);
  await place.run('datastore', 'verify');
});

test('a description that is damaged is no reason to make a new one', async (t) => {
  const place = await placeWithSnapshot(t);
  for (const text of ['', '{', '{"format":1}', 'null']) {
    writeFileSync(join(place.repository, 'datastore.json'), text);
    assert.match(await place.fails('datastore-foreign', 'snapshot', 'list'), /put the original file back/);
    await place.fails('exists', 'datastore', 'create');
  }
});

test('while a backup runs, what reads works; another backup is refused and names the holder', async (t) => {
  const place = await placeWithSnapshot(t);
  const env = { HOLDFAST_REPOSITORY: place.repository };
  const holder = start(['backup', '--group', 'vm/102', 'disk0.img:-', '--output-format', 'json'], { env });
  t.after(() => void holder.child.kill('SIGKILL'));
  await sessionFile(place);
  for (const [writes, args] of everyCommand(place)) {
    if (!writes) await place.run(...args);
    else if (args[0] === 'backup' || args[1] === 'unlock') {
      const message = await place.fails('datastore-locked', ...args);
      assert.ok(message.includes(String(holder.child.pid)), message);
    }
  }
  assert.deepEqual((await listed(place)).length, 1, 'what is not finished is not listed');
  holder.child.stdin?.end('the disk');
  const { code, stderr } = await holder.ended;
  assert.equal(code, 0, stderr);
  assert.equal((await listed(place)).length, 2);
  // The lock ended with its process: nothing is to be unlocked.
  await place.run('backup', '--group', 'vm/101', `a.conf:${place.path('a.conf')}`);
});

test('a killed holder leaves no lock', async (t) => {
  const place = await placeWithSnapshot(t);
  const env = { HOLDFAST_REPOSITORY: place.repository };
  const holder = start(['backup', '--group', 'vm/102', 'disk0.img:-'], { env });
  t.after(() => void holder.child.kill('SIGKILL'));
  await sessionFile(place);
  holder.child.kill('SIGKILL');
  await holder.ended;
  assert.equal((await place.json<{ unfinishedSessions: number }>('datastore', 'status')).unfinishedSessions, 1);
  await place.run('snapshot', 'note', 'vm/101/latest', 'still here');
  assert.equal((await listed(place)).length, 1);
});

test('for a user who may not write, what reads works and what writes says so', async (t) => {
  const place = await placeWithSnapshot(t);
  // The directories are for their owner alone: give everybody what a read-only share gives.
  openForReading(place.repository);
  for (const [writes, args] of everyCommand(place)) {
    const ran = await place.try([...args, '--output-format', 'json'], { asNobody: true });
    if (!writes) assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.stderr}`);
    else assert.match(messageOf(ran, 'datastore-read-only'), /check owner and mode/);
  }
  assert.equal((await place.json<{ notes: string }>('snapshot', 'show', 'vm/101/latest')).notes, '');
});

test('a store that the user may not even look into', { skip: !isRoot && 'needs root' }, async (t) => {
  const place = await placeWithSnapshot(t);
  chmodSync(place.repository, 0o700);
  for (const args of [
    ['snapshot', 'list'],
    ['datastore', 'status'],
    ['snapshot', 'forget', 'vm/101/latest'],
  ]) {
    const ran = await place.try([...args, '--output-format', 'json'], { asNobody: true });
    messageOf(ran, 'datastore-read-only');
  }
});

test('a datastore is not created where one may not write', async (t) => {
  const directory = mkdtempSync('/tmp/hft-cli-');
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  chmodSync(directory, 0o555);
  const place = await newPlace(t, { create: false });
  const ran = await place.try(
    ['datastore', 'create', '--repository', join(directory, 'x'), '--output-format', 'json'],
    { asNobody: true },
  );
  messageOf(ran, 'datastore-read-only');
});

/** Waits until a backup has begun. */
async function sessionFile(place: Place): Promise<void> {
  const begun = (): boolean => readdirSync(join(place.repository, 'sessions')).some((name) => name.endsWith('.json'));
  for (let waited = 0; !begun(); waited += 20) {
    assert.ok(waited < 20_000, 'the backup does not start');
    await sleep(20);
  }
}

function features(kind: string, name: string): Record<string, string[]> {
  return { compatible: [], readOnlyCompatible: [], incompatible: [], [kind]: [name] };
}

function changeConfig(place: Place, change: (config: Record<string, unknown>) => unknown): void {
  const path = join(place.repository, 'datastore.json');
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')))));
}

function openForReading(directory: string): void {
  chmodSync(directory, 0o555);
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) openForReading(path);
    else chmodSync(path, 0o444);
  }
}
