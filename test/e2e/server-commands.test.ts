// Every command against a server as against a directory: both get the same work, and must say and restore the same.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pattern } from '../agent/nbd/servers.ts';
import { type BackupJson, type ListedJson, newPlace, type Place, type Ran } from '../cli/holdfast.ts';
import { type Account, type ServerRig, startRig } from '../support/server/server-rig.ts';

const MIB = 1024 * 1024;
const ended: (() => void)[] = [];
const ending = { after: (end: () => void) => void ended.unshift(end) };
let rig: ServerRig;
let remote: Account;
let local: Place;

before(async () => {
  [rig, local] = await Promise.all([startRig(ending), newPlace(ending)]);
  remote = await rig.newcomer('admin', 'DatastoreAdmin');
});
after(() => {
  for (const end of ended) end();
});

const places = (): Place[] => [remote, local];
const source = (...names: string[]): string => rig.path(join('source', ...names));
const target = (place: Place, name: string): string => rig.path(`${place === local ? 'local' : 'remote'}-${name}`);

/** Runs a command at both; returns what the server's printed, after a look that the directory's is the same. */
async function same(...args: string[]): Promise<string> {
  const [there, here] = await Promise.all(places().map((place) => place.run(...args)));
  assert.equal(String((there as Ran).stdout), String((here as Ran).stdout), args.join(' '));
  return String((there as Ran).stdout);
}

/** A backup at both, under one label. */
async function backups(time: string, ...args: string[]): Promise<BackupJson[]> {
  return await Promise.all(
    places().map((place) => place.json<BackupJson>('backup', '--workers', '1', ...args, '--time', time)),
  );
}

async function restoresTo(snapshot: string, archive: string, expected: Buffer, ...more: string[]): Promise<void> {
  for (const place of places()) {
    const path = target(place, archive);
    await place.run('restore', snapshot, archive, path, '--overwrite', ...more);
    assert.ok(readFileSync(path).equals(expected), `${archive} of ${place.repository}`);
  }
}

test('disks, sparse disks, streams and small files go there and come back', async () => {
  mkdirSync(source(), { recursive: true });
  const disk = pattern(6 * MIB + 1536, 1);
  const config = Buffer.from('cores: 4\n');
  writeFileSync(source('disk'), disk);
  writeFileSync(source('conf'), config);
  writeFileSync(source('sparse'), '');
  truncateSync(source('sparse'), 300 * MIB);
  appendFileSync(source('sparse'), pattern(100_000, 2));
  const archives = [`disk0.img:${source('disk')}`, `wide.img:${source('sparse')}`, `vm.conf:${source('conf')}`];
  const [there, here] = await backups('2026-11-01T00:00:00Z', '--group', 'vm/101', ...archives);
  for (const member of ['snapshot', 'bytesLogical', 'bytesRead', 'bytesNew', 'objectsNew'] as const)
    assert.equal(there?.[member], here?.[member], member);
  await restoresTo('vm/101/latest', 'disk0.img', disk);
  await restoresTo('vm/101/latest', 'wide.img', readFileSync(source('sparse')));
  await restoresTo('vm/101/2026-11-01T00:00:00Z', 'vm.conf', config);
  const blocks = Number(execFileSync('stat', ['-c', '%b', target(remote, 'wide.img')], { encoding: 'utf8' }));
  assert.ok(blocks * 512 < 2 * MIB, 'holes stay holes');

  const stream = pattern(3 * MIB + 7, 3);
  const args = ['backup', '--group', 'vm/102', 'disk0.img:-', '--workers', '1'];
  for (const place of places()) assert.equal((await place.try(args, { stdin: stream })).code, 0);
  for (const place of places())
    assert.ok((await place.run('restore', 'vm/102/latest', 'disk0.img', '-')).stdout.equals(stream));
});

test('what changed alone is new, also by a change map', async () => {
  const changed = pattern(6 * MIB + 1536, 1);
  changed.set(pattern(100_000, 9), 3 * MIB);
  writeFileSync(source('disk'), changed);
  const args = ['--group', 'vm/101', `disk0.img:${source('disk')}`];
  const [there, here] = await backups('2026-11-02T00:00:00Z', ...args);
  assert.equal(there?.objectsNew, here?.objectsNew);
  assert.ok((there?.bytesNew ?? 0) < MIB, `${there?.bytesNew} bytes are new`);

  changed.set(pattern(50_000, 10), MIB);
  writeFileSync(source('disk'), changed);
  const disks = { 'disk0.img': [{ offset: MIB, length: 50_000 }] };
  writeFileSync(source('map'), JSON.stringify({ base: 'vm/101/2026-11-02T00:00:00Z', disks }));
  const [mapped] = await backups('2026-11-03T00:00:00Z', ...args, '--changed-since', source('map'));
  assert.ok((mapped?.bytesRead ?? 0) < 2 * MIB, `${mapped?.bytesRead} bytes were read`);
  await restoresTo('vm/101/latest', 'disk0.img', changed);
  assert.match(await same('snapshot', 'diff', 'vm/101/2026-11-02T00:00:00Z', 'vm/101/latest', 'disk0.img'), /\d/);
});

test('trees: there and back, looked into, compared, as tar archives', async () => {
  const tree = source('tree');
  mkdirSync(join(tree, 'etc/sub'), { recursive: true });
  writeFileSync(join(tree, 'etc/hosts.conf'), '127.0.0.1 localhost\n');
  writeFileSync(join(tree, 'large'), pattern(3 * MIB, 4));
  symlinkSync('large', join(tree, 'link'));
  execFileSync('tar', ['-C', tree, '-cf', source('tree.tar'), '.']);
  await backups('2026-11-01T00:00:00Z', '--group', 'ct/1', `root.tree:${tree}`);
  writeFileSync(join(tree, 'etc/new'), 'more');
  const [there] = await backups('2026-11-02T00:00:00Z', '--group', 'ct/1', `root.tree:${tree}`);
  assert.ok((there?.objectsNew ?? 99) <= 6, `${there?.objectsNew} new objects for one new file`);

  for (const place of places()) {
    await place.run('restore', 'ct/1/latest', 'root.tree', target(place, 'tree'));
    execFileSync('diff', ['-r', '--no-dereference', tree, target(place, 'tree')]);
  }
  assert.match(await same('snapshot', 'files', 'ct/1/latest', 'root.tree', '--recursive'), /hosts\.conf/);
  assert.equal(await same('snapshot', 'find', 'ct/1/latest', 'root.tree', '--name', '*.conf'), 'etc/hosts.conf\n');
  assert.equal(await same('snapshot', 'cat', 'ct/1/latest', 'root.tree', 'etc/hosts.conf'), '127.0.0.1 localhost\n');
  const diff = await same('snapshot', 'diff', 'ct/1/2026-11-01T00:00:00Z', 'ct/1/latest', 'root.tree');
  assert.match(diff, /etc\/new/);

  await backups('2026-11-01T00:00:00Z', '--group', 'ct/2', `root.tree:tar:${source('tree.tar')}`);
  for (const place of places())
    await place.run('restore', 'ct/2/latest', 'root.tree', '--tar', target(place, 'out.tar'));
  const names = (path: string): string => execFileSync('tar', ['-tf', path], { encoding: 'utf8' });
  assert.equal(names(target(remote, 'out.tar')), names(target(local, 'out.tar')));
  assert.match(names(target(remote, 'out.tar')), /etc\/hosts\.conf/);
});

test('encrypted with a key file: nothing of it at the server, nothing without the key', async () => {
  const secret = 'the plain words of a small file ';
  const disk = Buffer.concat([Buffer.from(secret.repeat(2000)), pattern(MIB, 6)]);
  writeFileSync(source('secret'), disk);
  await local.run('key', 'create', rig.path('key'), '--kdf', 'none');
  const key = ['--keyfile', rig.path('key')];
  const archive = `disk0.img:${source('secret')}`;
  await backups('2026-11-01T00:00:00Z', '--group', 'vm/200', archive, ...key, '--acknowledge-lost-key');
  const [second] = await backups('2026-11-02T00:00:00Z', '--group', 'vm/200', archive, ...key);
  assert.equal(second?.objectsNew, 0);
  await restoresTo('vm/200/latest', 'disk0.img', disk, ...key);
  const found = execFileSync('sh', ['-c', `grep -rlaF '${secret}' "$0" || true`, rig.storePath], { encoding: 'utf8' });
  assert.equal(found, '');
  await remote.fails('key-missing', 'restore', 'vm/200/latest', 'disk0.img', '-');
});

test('snapshots are listed, shown, noted, protected, locked and forgotten alike', async () => {
  const at = 'vm/101/2026-11-01T00:00:00Z';
  await same('snapshot', 'note', at, 'before the upgrade');
  await same('snapshot', 'protect', at);
  const rows = await Promise.all(places().map((place) => place.json<ListedJson[]>('snapshot', 'list', 'vm/101')));
  const shown = rows.map((each) =>
    each.map(({ snapshot, notes, archives, bytes }) => [snapshot, notes, archives, bytes]),
  );
  assert.deepEqual(shown[0], shown[1]);
  assert.equal(rows[0]?.[0]?.notes, 'before the upgrade');
  const [first] = await Promise.all(places().map((place) => place.json<{ owner: string }>('snapshot', 'show', at)));
  assert.equal(first?.owner, 'admin@local!ci');
  for (const place of places()) {
    assert.match(await place.fails('protected', 'snapshot', 'forget', at), /vm\/101/);
    await place.run('snapshot', 'protect', at, '--off');
    await place.run('snapshot', 'lock', 'vm/101/2026-11-02T00:00:00Z', '--for', '12h');
    await place.fails('retention-locked', 'snapshot', 'forget', 'vm/101/2026-11-02T00:00:00Z');
    await place.fails('not-found', 'snapshot', 'show', 'vm/101/2026-11-09T00:00:00Z');
  }
  await same('snapshot', 'forget', at);
});

test('prune plans and removes alike; verify and gc run at the server', async () => {
  const config = `vm.conf:${source('conf')}`;
  for (const day of ['04', '05', '06']) await backups(`2026-11-${day}T00:00:00Z`, '--group', 'host/web', config);
  const prune = ['prune', '--group', 'host/web', '--keep-last', '1'];
  assert.match(await same(...prune, '--dry-run'), /11-04/);
  assert.match(await same(...prune, '--dry-run', '--explain'), /remove +beyond the 1 newest of keep-last\n/);
  await same(...prune);
  for (const place of places())
    assert.deepEqual(
      (await place.json<ListedJson[]>('snapshot', 'list', 'host/web')).map(({ snapshot }) => snapshot),
      ['host/web/2026-11-06T00:00:00Z'],
    );
  for (const place of places()) {
    const verified = await place.json<{ recordsRead: number; damaged: [] }>('datastore', 'verify');
    assert.ok(verified.recordsRead > 50);
    assert.deepEqual(verified.damaged, []);
    const one = await place.json<{ packsRead: number }>('datastore', 'verify', '--snapshot', 'ct/1/latest');
    assert.ok(one.packsRead > 0);
    const collected = await place.json<{ objectsLive: number; dryRun: boolean }>('datastore', 'gc', '--dry-run');
    assert.ok(collected.dryRun && collected.objectsLive > 50);
    await place.run('datastore', 'gc', '--audit');
  }
  await restoresTo('vm/101/latest', 'disk0.img', readFileSync(source('disk')));
});

test('damage at the server is found, told with its exit code, and healed by a backup', async () => {
  const disk = pattern(2 * MIB, 77);
  writeFileSync(source('hurt'), disk);
  const args = ['backup', '--group', 'vm/300', `disk0.img:${source('hurt')}`];
  const packs = (): string[] =>
    readdirSync(join(rig.storePath, 'packs')).map((name) => join(rig.storePath, 'packs', name));
  const old = new Set(packs());
  await remote.run(...args);
  const [path = ''] = packs()
    .filter((each) => !old.has(each))
    .sort((one, other) => statSync(other).size - statSync(one).size);
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
  writeFileSync(path, bytes);
  const verified = await remote.try(['datastore', 'verify', '--output-format', 'json']);
  assert.notEqual(verified.code, 0);
  assert.match(String(verified.stdout), /vm\/300/);
  // What the server cannot give, it does not give: it is the server that knows why, and its verify that says it.
  await remote.fails('object-missing', 'restore', 'vm/300/latest', 'disk0.img', rig.path('hurt'));
  rmSync(rig.path('hurt'), { force: true });
  await remote.run(...args);
  await remote.run('restore', 'vm/300/latest', 'disk0.img', rig.path('hurt'));
  assert.ok(readFileSync(rig.path('hurt')).equals(disk));
});

test('commands of a directory say that they are none of a server', async () => {
  for (const args of [['datastore', 'create'], ['datastore', 'status'], ['datastore', 'repair'], ['serve-nbd']])
    assert.match(await remote.fails('bad-argument', ...args), /directory/);
});
