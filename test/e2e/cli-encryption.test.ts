// Encrypted backups as users make them: with key files, passphrases, wrong keys, lost keys, and a datastore that lies.
import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { manifestDigest } from '../../src/datastore/snapshots/manifest-digest.ts';
import type { Manifest } from '../../src/schema/manifest.ts';
import { formatTime } from '../../src/schema/names.ts';
import { pattern, without } from '../agent/nbd/servers.ts';
import {
  type BackupJson,
  type Ending,
  type ListedJson,
  messageOf,
  newPlace,
  type Place,
  type Ran,
  start,
} from '../cli/holdfast.ts';

const MiB = 1024 * 1024;
const PASSPHRASE = 'correct horse battery';
/** What a reader of the datastore would find if it were not encrypted. */
const SECRET = 'the plain words of a small file ';

interface KeyPlace extends Place {
  readonly key: string;
  backup(...more: string[]): Promise<BackupJson>;
}

/** A place with an acknowledged key without passphrase and two archives to back up. */
async function keyPlace(t: Ending): Promise<KeyPlace> {
  const place = await newPlace(t);
  const key = place.path('key');
  await place.run('key', 'create', key, '--kdf', 'none');
  writeFileSync(place.path('disk'), pattern(2 * MiB, 1));
  writeFileSync(place.path('conf'), SECRET.repeat(100));
  const archives = [`disk0.img:${place.path('disk')}`, `a.conf:${place.path('conf')}`];
  const words = ['backup', '--group', 'vm/101', ...archives, '--keyfile', key, '--acknowledge-lost-key'];
  return { ...place, key, backup: async (...more) => await place.json<BackupJson>(...words, ...more) };
}

const restore = (place: KeyPlace, snapshot: string, ...more: string[]) =>
  ['restore', snapshot, 'a.conf', place.path('out'), '--overwrite', '--keyfile', place.key, ...more] as const;

function manifestPath(place: Place, snapshot: string): string {
  return join(place.repository, 'snapshots', snapshot, 'manifest.json');
}

/** Edits a manifest as somebody does who may write to the datastore: with a digest that holds. */
function edit(path: string, change: (manifest: Manifest) => void): void {
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Manifest;
  change(manifest);
  const digest = manifestDigest(manifest.client, manifest.server);
  writeFileSync(path, JSON.stringify({ ...manifest, digest }));
}

function holds(directory: string, text: string): boolean {
  const names = readdirSync(directory, { recursive: true }) as string[];
  return names.some(
    (name) => statSync(join(directory, name)).isFile() && readFileSync(join(directory, name)).includes(text),
  );
}

test('a backup with a key comes back with that key alone', async (t) => {
  const place = await keyPlace(t);
  const { snapshot } = await place.backup();
  assert.ok(!holds(place.repository, SECRET));
  await place.run(...restore(place, snapshot));
  assert.equal(readFileSync(place.path('out'), 'utf8'), SECRET.repeat(100));
  await place.run('restore', 'vm/101/latest', 'disk0.img', place.path('back'), '--keyfile', place.key);
  assert.ok(readFileSync(place.path('back')).equals(readFileSync(place.path('disk'))));

  const other = place.path('other');
  await place.run('key', 'create', other, '--kdf', 'none');
  const fingerprintOf = (path: string): string => JSON.parse(readFileSync(path, 'utf8')).fingerprint;
  const commands = [
    ['restore', 'vm/101/latest', 'disk0.img', place.path('new')],
    ['snapshot', 'diff', 'vm/101/latest', 'vm/101/latest'],
    ['serve-nbd', '--socket', place.path('socket'), '--export', 'vm/101/latest:disk0.img'],
  ];
  for (const command of commands) {
    assert.match(await place.fails('key-missing', ...command), new RegExp(`${fingerprintOf(place.key)}.*--keyfile`));
    const message = await place.fails('key-wrong', ...command, '--keyfile', other);
    for (const path of [place.key, other]) assert.ok(message.includes(fingerprintOf(path)));
  }
  assert.ok(!existsSync(place.path('new')), 'nothing was written');
  await place.run('snapshot', 'diff', 'vm/101/latest', snapshot, 'disk0.img', '--keyfile', place.key);

  const [row] = await place.json<(ListedJson & { key: string })[]>('snapshot', 'list');
  assert.equal(row?.key, fingerprintOf(place.key));
  assert.match((await place.run('snapshot', 'list')).stdout.toString(), /a\.conf +encrypted/);
  assert.match(
    (await place.run('snapshot', 'show', snapshot)).stdout.toString(),
    new RegExp(`encrypted +with key ${row?.key}`),
  );
  assert.equal((await place.backup()).objectsNew, 0, 'deduplicated against the base');
});

test('a snapshot with another key, or none, is no base', async (t) => {
  const place = await keyPlace(t);
  const first = await place.backup();
  const other = place.path('other');
  await place.run('key', 'create', other, '--kdf', 'none');
  const words = ['backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`, '--acknowledge-lost-key'];
  const map = place.path('map');
  writeFileSync(map, JSON.stringify({ base: first.snapshot, disks: { 'disk0.img': [] } }));
  for (const [crypt, key] of [
    ['encrypt', other],
    ['none', place.key],
  ] as const) {
    const ran = await place.try([...words, '--keyfile', key, '--crypt-mode', crypt, '--changed-since', map]);
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stderr, /read in full/);
    const shown = await place.json<{ base: unknown; key: string | null; statistics: { objectsReused: number } }>(
      'snapshot',
      'show',
      'vm/101/latest',
    );
    assert.equal(shown.base, null);
    assert.equal(shown.statistics.objectsReused, 0);
    assert.equal(shown.key === null, crypt === 'none');
  }
});

test('the first backup wants to hear that a lost key is a lost backup', async (t) => {
  const place = await keyPlace(t);
  const words = ['backup', '--group', 'vm/101', `a.conf:${place.path('conf')}`, '--keyfile', place.key];
  const alone = async (...more: string[]): Promise<Ran> =>
    await place.try([...words, ...more, '--output-format', 'json'], { through: ['setsid', '-w'] });
  const message = messageOf(await alone(), 'key-unacknowledged');
  for (const command of ['key create-recovery', 'key set-recovery', 'key paper', '--acknowledge-lost-key'])
    assert.ok(message.includes(command));
  assert.deepEqual(await place.json('snapshot', 'list'), []);
  assert.equal((await alone('--acknowledge-lost-key')).code, 0);
  assert.equal((await alone()).code, 0, 'the key file remembers');
  assert.ok(JSON.parse(readFileSync(place.key, 'utf8')).acknowledged);
  await place.fails(
    'key-missing',
    'backup',
    '--group',
    'vm/101',
    `a.conf:${place.path('conf')}`,
    '--crypt-mode',
    'encrypt',
  );
});

test('passphrases come from a file or the environment, and without either from nowhere', async (t) => {
  const place = await keyPlace(t);
  const [key, file] = [place.path('protected'), place.path('passphrase')];
  writeFileSync(file, `${PASSPHRASE}\n`);
  const env = { HOLDFAST_KEY_PASSPHRASE: PASSPHRASE, HOLDFAST_KEYFILE: key };
  await place.run('key', 'create', key, '--passphrase-file', file);
  assert.equal(statSync(key).mode & 0o777, 0o600);
  await place.fails('exists', 'key', 'create', key, '--passphrase-file', file);
  const words = ['backup', '--group', 'vm/101', `a.conf:${place.path('conf')}`, '--acknowledge-lost-key'];
  assert.equal((await place.try(words, { env })).code, 0);
  const read = ['restore', 'vm/101/latest', 'a.conf', place.path('out'), '--keyfile', key, '--output-format', 'json'];
  messageOf(await place.try(read, { env: { HOLDFAST_KEY_PASSPHRASE: 'wrong' } }), 'passphrase-wrong');
  const nobody = messageOf(await place.try(read, { through: ['setsid', '-w'] }), 'key-missing');
  assert.match(nobody, /--passphrase-file FILE or set HOLDFAST_KEY_PASSPHRASE/);
  await place.run(...read, '--passphrase-file', file);

  const [longer, short] = [place.path('new'), place.path('short')];
  writeFileSync(longer, 'another long one');
  writeFileSync(short, 'short');
  const change = ['key', 'change-passphrase', key, '--passphrase-file', file, '--new-passphrase-file'];
  await place.fails('bad-argument', ...change, short);
  await place.run(...change, longer, '--hint', 'longer');
  await place.fails('passphrase-wrong', ...read, '--passphrase-file', file, '--overwrite');
  await place.run(...read, '--passphrase-file', longer, '--overwrite');
  const shown = await place.json<{ hint: string; acknowledged: string | null }>('key', 'show', key);
  assert.equal(shown.hint, 'longer');
  assert.ok(shown.acknowledged);
  await place.run('key', 'change-passphrase', key, '--passphrase-file', longer, '--kdf', 'none');
  await place.run(...read, '--overwrite');
});

test('a key file that others may read is a warning; one that is damaged or none an error', async (t) => {
  const place = await keyPlace(t);
  const { snapshot } = await place.backup();
  const { mode } = statSync(place.key);
  const open = readFileSync(place.key);
  rmSync(place.key);
  writeFileSync(place.key, open, { mode: 0o644 });
  assert.notEqual(statSync(place.key).mode, mode);
  const ran = await place.try(restore(place, snapshot));
  assert.equal(ran.code, 0);
  assert.match(ran.stderr, /warning: other users may open the key file.*chmod 600/);
  await place.fails('key-damaged', 'restore', snapshot, 'a.conf', place.path('x'), '--keyfile', place.path('conf'));
  await place.fails('not-found', 'restore', snapshot, 'a.conf', place.path('x'), '--keyfile', place.path('nothing'));
});

test('an older latest is refused by restore and served disks, and a warning for a backup', async (t) => {
  const place = await keyPlace(t);
  const first = await place.backup();
  cpSync(place.repository, place.path('old'), { recursive: true });
  const second = await place.backup('--time', formatTime(Math.floor(Date.now() / 1000) + 30));
  rmSync(place.repository, { recursive: true });
  renameSync(place.path('old'), place.repository);
  const message = await place.fails('snapshot-older', ...restore(place, 'vm/101/latest'));
  for (const text of [first.snapshot, second.snapshot, '--accept-older']) assert.ok(message.includes(text), text);
  await place.fails(
    'snapshot-older',
    'snapshot',
    'diff',
    first.snapshot,
    'vm/101/latest',
    'disk0.img',
    '--keyfile',
    place.key,
  );
  const socket = ['--socket', place.path('s'), '--export', 'vm/101/latest:disk0.img'];
  await place.fails('snapshot-older', 'serve-nbd', ...socket, '--keyfile', place.key);
  assert.ok(!existsSync(place.path('out')));
  await place.run(...restore(place, first.snapshot));
  assert.match(
    (await place.run(...restore(place, 'vm/101/latest', '--accept-older'))).stderr,
    /warning: .*used all the same/,
  );
  const words = ['backup', '--group', 'vm/101', `a.conf:${place.path('conf')}`, '--keyfile', place.key];
  assert.match((await place.run(...words)).stderr, /warning: .*is given for the latest/);
  await place.run(...restore(place, 'vm/101/latest'));
});

test('a manifest that was altered by who may write to the datastore is refused', async (t) => {
  const place = await keyPlace(t);
  const { snapshot } = await place.backup();
  const path = manifestPath(place, snapshot);
  const whole = readFileSync(path);
  const swapRoots = ({ client: { archives } }: Manifest): void => {
    const [disk, conf] = archives as [Manifest['client']['archives'][0], Manifest['client']['archives'][0]];
    [disk.root, conf.root] = [conf.root, disk.root];
  };
  const changes: ((manifest: Manifest) => void)[] = [
    swapRoots,
    ({ client }) => void Object.assign(client, { clientTime: '2027-01-01T00:00:00.000Z' }),
    ({ client }) => void Object.assign(client.archives[1] as object, { sizeBytes: 1 }),
    ({ client }) => void delete client.signature,
  ];
  for (const change of changes) {
    edit(path, change);
    assert.match(await place.fails('manifest-altered', ...restore(place, snapshot)), /sign/);
    writeFileSync(path, whole);
  }
  // Nobody signs a plain snapshot: it says so, and it is not passed off for the latest.
  edit(path, ({ client }) => void Object.assign(client, { key: null }));
  await place.fails('snapshot-older', ...restore(place, 'vm/101/latest'));
  writeFileSync(path, whole);

  // The snapshot of another group, and an old one under a new label.
  const foreign = manifestPath(place, snapshot.replace('101', '102'));
  mkdirSync(dirname(foreign), { recursive: true });
  writeFileSync(foreign, whole);
  assert.match(await place.fails('manifest-altered', ...restore(place, 'vm/102/latest')), /vm\/101/);
  const time = Math.floor(Date.now() / 1000) + 24 * 3600;
  const relabelled = manifestPath(place, `vm/101/${formatTime(time)}`);
  mkdirSync(dirname(relabelled));
  writeFileSync(relabelled, whole);
  edit(relabelled, ({ server }) => void Object.assign(server, { time }));
  assert.match(
    await place.fails('snapshot-older', ...restore(place, `vm/101/${formatTime(time)}`)),
    /was made by its client at/,
  );
  await place.run(...restore(place, snapshot));
});

test('a lost key comes back by the recovery key, and by the printable copy', async (t) => {
  const place = await keyPlace(t);
  const [priv, pub] = [place.path('r.pem'), place.path('r.pub')];
  writeFileSync(place.path('safe'), 'in the safe');
  writeFileSync(place.path('passphrase'), PASSPHRASE);
  const safe = ['--recovery-passphrase-file', place.path('safe')];
  await place.run('key', 'create-recovery', priv, pub, ...safe);
  const lost = place.path('lost');
  await place.run('key', 'create', lost, '--recovery', pub, '--passphrase-file', place.path('passphrase'));
  const open = ['--keyfile', lost, '--passphrase-file', place.path('passphrase')];
  await place.run('backup', '--group', 'vm/101', `a.conf:${place.path('conf')}`, ...open);
  const paper = (await place.run('key', 'paper', lost)).stdout;
  rmSync(lost);

  await place.run('key', 'recover', '--recovery', priv, 'vm/101/latest', place.path('found'), '--kdf', 'none', ...safe);
  const typed = place.path('typed');
  writeFileSync(
    typed,
    paper
      .toString()
      .split('\n')
      .filter((line) => /^\d/.test(line))
      .join('\n')
      .toLowerCase(),
  );
  const words = ['key', 'recover', '--paper', typed, place.path('from-paper'), '--kdf', 'none'];
  await place.run(...words, '--paper-passphrase-file', place.path('passphrase'));
  for (const key of ['found', 'from-paper']) {
    await place.run('restore', 'vm/101/latest', 'a.conf', place.path(`of-${key}`), '--keyfile', place.path(key));
    assert.equal(readFileSync(place.path(`of-${key}`), 'utf8'), SECRET.repeat(100));
  }
  await place.fails('bad-argument', 'key', 'recover', place.path('x'));
  await place.fails('bad-argument', 'key', 'recover', '--paper', typed, 'vm/101/latest', place.path('x'));
  await place.backup('--group', 'vm/103');
  await place.fails('not-found', 'key', 'recover', '--recovery', priv, 'vm/103/latest', place.path('x'), ...safe);
  await place.fails(
    'passphrase-wrong',
    'key',
    'recover',
    '--recovery',
    priv,
    'vm/101/latest',
    place.path('x'),
    '--recovery-passphrase-file',
    place.path('passphrase'),
  );
});

test('an encrypted disk is served with its key', { skip: without('nbdcopy') }, async (t) => {
  const place = await keyPlace(t);
  await place.backup();
  const socket = place.path('socket');
  const words = ['serve-nbd', '--socket', socket, '--keyfile', place.key];
  const { child, ended } = start(words, {
    env: { HOLDFAST_REPOSITORY: place.repository, HOLDFAST_STATE_DIR: place.path('state') },
  });
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve());
      ended.then(({ stderr }) => reject(new Error(stderr)), reject);
    });
    const { promisify } = await import('node:util');
    const { execFile } = await import('node:child_process');
    await promisify(execFile)('nbdcopy', [`nbd+unix:///vm/101/latest/disk0.img?socket=${socket}`, place.path('copy')]);
    assert.ok(readFileSync(place.path('copy')).equals(readFileSync(place.path('disk'))));
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
});
