// Names become paths: none may lead out of its directory, hide a file, or reach a terminal raw.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { listed, newPlace } from './holdfast.ts';

const BAD_PARTS: Readonly<Record<string, string>> = {
  empty: '',
  dot: '.',
  'two dots': '..',
  'a leading dot': '.hidden',
  'a leading dash': '-x',
  'a space': 'a b',
  'a line break': 'a\nb',
  'an escape sequence': 'a\x1b[31mb',
  'a backslash': 'a\\b',
  unicode: 'büro',
  'a look-alike': '１０１',
  '129 bytes': 'x'.repeat(129),
  '300 bytes': 'x'.repeat(300),
};

function assertQuiet(message: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  assert.ok(!/[\x00-\x1f\x7f]/.test(message), JSON.stringify(message));
  assert.ok(message.length < 400, 'a long name is cut short');
}

test('bad names of groups, namespaces, archives and snapshots are refused everywhere', async (t) => {
  const place = await newPlace(t);
  const file = place.path('a.conf');
  writeFileSync(file, 'a');
  // A process takes a tenth of a second: each name goes to two of the places that take one.
  for (const [at, part] of Object.values(BAD_PARTS).entries()) {
    const commands = [
      ['backup', '--group', `vm/${part}`, `a.conf:${file}`],
      ['snapshot', 'show', `vm/${part}/latest`],
      ['snapshot', 'forget', `ct/${part}/2026-11-20T02:00:00Z`],
      ['backup', '--group', 'vm/1', `a.conf:${file}`, `--ns=office/${part}`],
      ['snapshot', 'list', `--ns=${part}/office`],
      ['restore', `host/${part}/latest`, 'a.conf', '-'],
    ];
    for (const which of [at, at + 3]) {
      assertQuiet(await place.fails('bad-name', ...commands[which % commands.length]));
    }
  }
  assert.deepEqual(readdirSync(join(place.repository, 'snapshots')), []);
});

test('groups and namespaces of a wrong shape are refused', async (t) => {
  const place = await newPlace(t);
  const file = place.path('a.conf');
  writeFileSync(file, 'a');
  for (const group of ['101', 'vm', 'vm/', '/101', 'vm/101/102', 'VM/101', 'vm/../101', '../vm/101']) {
    await place.fails('bad-name', 'backup', '--group', group, `a.conf:${file}`);
  }
  const depth = 'a/b/c/d/e/f/g/h';
  const length = Array(3).fill('x'.repeat(100)).join('/');
  for (const ns of ['/', 'a/', '/a', 'a//b', 'a/../b', depth, length]) {
    await place.fails('bad-name', 'snapshot', 'list', '--ns', ns);
  }
  for (const name of [
    'disk0',
    'disk0.raw',
    'disk0.img.txt',
    'a/b.img',
    '../disk0.img',
    '.img',
    'manifest.json/x.conf',
  ]) {
    assert.match(await place.fails('bad-name', 'backup', '--group', 'vm/1', `${name}:${file}`), /archive name/);
  }
  for (const snapshot of [
    'vm/101',
    'latest',
    '',
    'vm/101/now',
    'vm/101/2026-13-01T00:00:00Z',
    'vm/101/2026-11-20',
    'vm/101/-5',
    'vm/101/../latest',
  ]) {
    await place.fails('bad-name', 'snapshot', 'forget', snapshot);
  }
});

test('the longest and the strangest good names work from backup to forget', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'content');
  const id = 'x'.repeat(128);
  const ns = ['a'.repeat(128), 'b_-.c', '0', '_', 'e', 'f', 'g'].join('/');
  const name = `${'n'.repeat(123)}.conf`;
  await place.run('backup', '--group', `host/${id}`, '--ns', ns, `${name}:${place.path('a.conf')}`);
  assert.equal((await listed(place, '--ns', ns)).length, 1);
  const ran = await place.run('restore', `host/${id}/latest`, name, '-', '--ns', ns);
  assert.equal(ran.stdout.toString(), 'content');
  await place.run('snapshot', 'forget', `host/${id}/latest`, '--ns', ns);
  assert.deepEqual(await listed(place, '--ns', ns), []);
});

test('a snapshot or an archive that is not there is named, with what there is', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'a');
  await place.run('backup', '--group', 'vm/101', `a.conf:${place.path('a.conf')}`, `b.log:${place.path('a.conf')}`);
  assert.match(
    await place.fails('not-found', 'restore', 'vm/101/latest', 'disk0.img', '-'),
    /no archive "disk0\.img"; it has a\.conf, b\.log/,
  );
  assertQuiet(await place.fails('not-found', 'restore', 'vm/101/latest', 'x\x1b[2J', '-'));
  for (const snapshot of ['vm/101/2020-01-01T00:00:00Z', 'vm/102/latest']) {
    for (const args of [
      ['show', snapshot],
      ['forget', snapshot],
      ['protect', snapshot],
      ['note', snapshot, 'x'],
    ]) {
      assert.match(
        await place.fails('not-found', 'snapshot', ...args),
        /there is no snapshot .*; see: holdfast snapshot list/,
      );
    }
    await place.fails('not-found', 'restore', snapshot, 'a.conf', place.path('out'));
  }
});

test('a note may hold anything; a terminal is not steered by it; one that is too long changes nothing', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'a');
  await place.run('backup', '--group', 'vm/101', `a.conf:${place.path('a.conf')}`);
  const note = '\x1b]0;title\x07 ünï 🚀 "quoted" \\ \x9b31m\ttab';
  await place.run('snapshot', 'note', 'vm/101/latest', note);
  assert.equal((await place.json<{ notes: string }>('snapshot', 'show', 'vm/101/latest')).notes, note);
  for (const command of ['list', 'show']) {
    const text = (
      await place.run('snapshot', command, ...(command === 'show' ? ['vm/101/latest'] : []))
    ).stdout.toString();
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    assert.ok(!/[\x00-\x08\x0b-\x1f\x7f-\x9f]/.test(text), JSON.stringify(text));
    assert.ok(text.includes('ünï 🚀 "quoted" \\'), text);
  }
  await place.run('snapshot', 'note', 'vm/101/latest', 'y'.repeat(65_536));
  assert.match(
    await place.fails('too-large', 'snapshot', 'note', 'vm/101/latest', 'z'.repeat(65_537)),
    /at most 65536/,
  );
  assert.equal((await place.json<{ notes: string }>('snapshot', 'show', 'vm/101/latest')).notes, 'y'.repeat(65_536));
});

test('as many archives as a manifest takes, and not one more', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a'), 'a');
  const archives = (count: number): string[] =>
    Array.from({ length: count }, (_, at) => `f${at}.conf:${place.path('a')}`);
  await place.run('backup', '--group', 'vm/101', ...archives(1024));
  assert.equal((await place.json<{ archives: unknown[] }>('snapshot', 'show', 'vm/101/latest')).archives.length, 1024);
  assert.match(await place.fails('too-many', 'backup', '--group', 'vm/101', ...archives(1025)), /1025 archives/);
  assert.equal((await listed(place)).length, 1);
});
