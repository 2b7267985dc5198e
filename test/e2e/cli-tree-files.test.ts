// Looking into file trees with the real program: what it lists, finds, prints and compares, and how it says that something is no file.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { BackupJson } from '../cli/holdfast.ts';
import { messageOf, newPlace, type Place, start } from '../cli/holdfast.ts';

const MIB = 1024 * 1024;
const ended: (() => void)[] = [];
let place: Place;
let first: string;
let second: string;

const source = (...names: string[]): string => place.path(join('tree', ...names));
const sparse = { hole: 40 * MIB, tail: randomBytes(100_000) };
const contents = {
  small: Buffer.from('hello\0\xff\n', 'latin1'),
  medium: randomBytes(20_000),
  large: randomBytes(9 * MIB + 1),
};

before(async () => {
  place = await newPlace({ after: (end) => ended.push(end) });
  mkdirSync(source('etc', 'sub'), { recursive: true });
  for (const [name, content] of Object.entries(contents)) writeFileSync(source(name), content);
  writeFileSync(source('etc', 'hosts.conf'), '127.0.0.1 localhost\n', { mode: 0o600 });
  writeFileSync(source('empty'), '');
  writeFileSync(Buffer.concat([Buffer.from(source('bad')), Buffer.from([0xff, 0x0a, 0x5c])]), 'odd');
  writeFileSync(source('sparse'), '');
  truncateSync(source('sparse'), sparse.hole);
  appendFileSync(source('sparse'), sparse.tail);
  symlinkSync('/etc/passwd', source('link'));
  linkSync(source('medium'), source('twin'));
  const backup = async (time: string): Promise<string> =>
    (await place.json<BackupJson>('backup', '--group', 'ct/1', `root.tree:${source()}`, '--time', time)).snapshot;
  first = await backup('2026-11-20T02:00:00Z');
  writeFileSync(source('etc', 'new'), '12345');
  rmSync(source('small'));
  appendFileSync(source('large'), 'x');
  chmodSync(source('etc', 'hosts.conf'), 0o640);
  second = await backup('2026-11-21T02:00:00Z');
});
after(() => {
  for (const end of ended) end();
});

interface Row {
  readonly path: string;
  readonly pathBytes?: string;
  readonly type: string;
  readonly mode: string;
  readonly size: number;
  readonly links: number;
  readonly target?: string;
}
interface Listing {
  readonly entries: readonly Row[];
  readonly count: number;
  readonly limited: boolean;
}

test('files lists a directory with its own row, in JSON and as rows; all of it with --recursive', async () => {
  const top = await place.json<Listing>('snapshot', 'files', first, 'root.tree');
  const names = ['', 'bad\\xff\\x0a\\\\', 'empty', 'etc', 'large', 'link', 'medium', 'small', 'sparse', 'twin'];
  assert.deepEqual(
    top.entries.map(({ path }) => path),
    names,
  );
  assert.equal(Buffer.from(top.entries[1]?.pathBytes ?? '', 'base64').toString('latin1'), 'bad\xff\n\\');
  const row = (name: string): Row | undefined => top.entries.find(({ path }) => path === name);
  assert.deepEqual([row('link')?.type, row('link')?.target], ['l', '/etc/passwd']);
  assert.deepEqual([row('twin')?.links, row('large')?.size, row('etc')?.type], [2, contents.large.length, 'd']);
  const etc = (await place.run('snapshot', 'files', first, 'root.tree', '/etc/')).stdout.toString();
  assert.match(etc, /\n-rw------- +1 +\d+ +\d+ +20 {2}\d{4}-\d\d-\d\dT[\d:]+Z {2}etc\/hosts\.conf\n/);
  assert.match(etc, /\n3 entries, 20 B in regular files\n$/);
  const all = await place.json<Listing>('snapshot', 'files', first, 'root.tree', '--recursive');
  assert.equal(all.count, names.length + 2);
  assert.deepEqual(
    all.entries.slice(3, 6).map(({ path }) => path),
    ['etc', 'etc/hosts.conf', 'etc/sub'],
  );
});

test('--limit ends a list, and says so', async () => {
  const list = await place.json<Listing>('snapshot', 'files', first, 'root.tree', '--limit', '3');
  assert.deepEqual([list.count, list.entries.length, list.limited], [3, 3, true]);
  const whole = await place.json<Listing>('snapshot', 'files', first, 'root.tree', '--limit', '10');
  assert.deepEqual([whole.count, whole.limited], [10, false]);
  await place.fails('bad-argument', 'snapshot', 'files', first, 'root.tree', '--limit', '0');
});

test('find prints the paths for which all conditions hold', async () => {
  const find = async (...args: string[]): Promise<string> =>
    (await place.run('snapshot', 'find', first, 'root.tree', ...args)).stdout.toString();
  assert.equal(await find('--name', '*.conf'), 'etc/hosts.conf\n');
  assert.equal(await find('etc', '--type', 'd'), 'etc\netc/sub\n');
  assert.equal(await find('--larger', '1M', '--type', 'f'), 'large\nsparse\n');
  assert.equal(await find('--newer', '2000-01-01T00:00:00Z', '--name', 'twin'), 'twin\n');
  assert.equal(await find('--older', '2000-01-01T00:00:00Z'), '');
  assert.equal(await find('--max-depth', '0'), '.\n');
  const long = await place.run('snapshot', 'find', first, 'root.tree', '--name', 'twin', '--long');
  assert.match(long.stdout.toString(), /twin\n1 entries/);
  await place.fails('bad-argument', 'snapshot', 'find', first, 'root.tree', '--type', 'q');
});

test('cat prints exactly the bytes: inside an entry, one piece, many through threads, holes', async () => {
  for (const [name, content] of [...Object.entries(contents), ['empty', Buffer.alloc(0)] as const]) {
    const { stdout } = await place.run('snapshot', 'cat', first, 'root.tree', name);
    assert.ok(stdout.equals(content), `${name}: ${stdout.length} bytes`);
  }
  const { stdout } = await place.run('snapshot', 'cat', first, 'root.tree', 'sparse');
  assert.equal(sha256(stdout), sha256(readFileSync(source('sparse'))));
  assert.equal((await place.run('snapshot', 'cat', first, 'root.tree', 'bad\\xff\\x0a\\\\')).stdout.toString(), 'odd');
});

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('cat of what is no file says what it is', async () => {
  const cat = (path: string): string[] => ['snapshot', 'cat', first, 'root.tree', path];
  assert.match(await place.fails('bad-argument', ...cat('link')), /symbolic link to \/etc\/passwd/);
  assert.match(await place.fails('bad-argument', ...cat('etc')), /directory; list it with: holdfast snapshot files/);
  assert.match(await place.fails('not-found', ...cat('etc/none')), /\/etc\/none/);
  assert.match(await place.fails('not-found', ...cat('large/below')), /\/large\/below/);
  await place.fails('not-found', 'snapshot', 'cat', first, 'other.tree', 'x');
});

test('a reader that goes away ends cat quietly', async () => {
  const { child, ended: end } = start(['snapshot', 'cat', first, 'root.tree', 'sparse'], {
    env: { HOLDFAST_REPOSITORY: place.repository },
    stdin: new Uint8Array(0),
  });
  child.stdout?.once('data', () => child.stdout?.destroy());
  const ran = await end;
  assert.deepEqual([ran.code, ran.stderr], [0, '']);
});

test('a full disk below cat is an error', async () => {
  const ran = await place.try(['snapshot', 'cat', first, 'root.tree', 'large', '--output-format', 'json'], {
    through: ['sh', '-c', '"$@" > /dev/full', 'sh'],
  });
  messageOf(ran, 'target-failed');
});

test('diff of two trees: files, sizes and what of the metadata; disks are refused beside trees', async () => {
  interface Diff {
    readonly changes: readonly {
      kind: string;
      path: string;
      sizeBefore: number | null;
      sizeAfter: number | null;
      fields: string[];
    }[];
    readonly count: number;
    readonly sums: Readonly<Record<string, { count: number; bytes: number }>>;
  }
  const diff = await place.json<Diff>('snapshot', 'diff', first, second);
  const plain = diff.changes.filter(({ kind, fields }) => kind !== 'metadata' || fields.join() !== 'mtime');
  const size = contents.large.length;
  assert.deepEqual(
    plain.map(({ kind, path, sizeBefore, sizeAfter }) => [kind, path, sizeBefore, sizeAfter]),
    [
      ['metadata', 'etc/hosts.conf', 20, 20],
      ['added', 'etc/new', null, 5],
      ['changed', 'large', size, size + 1],
      ['removed', 'small', contents.small.length, null],
    ],
  );
  assert.deepEqual(diff.changes.find(({ path }) => path === 'etc/hosts.conf')?.fields, ['mode']);
  assert.deepEqual(
    [diff.sums.added, diff.sums.changed],
    [
      { count: 1, bytes: 5 },
      { count: 1, bytes: size + 1 },
    ],
  );
  assert.equal(diff.count, diff.changes.length);
  const text = (await place.run('snapshot', 'diff', first, second, 'root.tree')).stdout.toString();
  assert.match(text, /\nadded {2,}- +5 {2}etc\/new\n/);
  assert.match(text, /\n1 added \(5 B\), 1 removed \(8 B\), 1 changed \(9\.00 MiB\), \d metadata/);
});

test('places that take disks say that this is a file tree', async () => {
  const nbd = ['serve-nbd', '--socket', place.path('socket'), '--export', `${first}:root.tree`];
  assert.match(await place.fails('not-found', ...nbd), /file tree/);
  writeFileSync(place.path('disk'), 'x'.repeat(5000));
  const { snapshot } = await place.json<BackupJson>('backup', '--group', 'vm/9', `disk0.img:${place.path('disk')}`);
  assert.match(await place.fails('bad-argument', 'snapshot', 'files', snapshot, 'disk0.img'), /disk and has no files/);
});
