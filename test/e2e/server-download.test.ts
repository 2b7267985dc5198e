// Downloads of a real server: a directory with all that Linux keeps of files and a disk go in with the program, and come back over HTTPS to clients that know
// nothing of Holdfast: curl, tar, zstd, and some that are slow or leave.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Seen, seenTree } from '../agent/tree/seen-tree.ts';
import { isRoot } from '../cli/holdfast.ts';
import { type Account, type ServerRig, STORE, startRig } from '../support/server/server-rig.ts';

const MIB = 1024 * 1024;
const BASE = `/admin/datastore/${STORE}`;
const HUGE_BYTES = 4 * 1024 * MIB;
const WHEN = '2026-11-01T00:00:00Z';
const TIME = Date.parse(WHEN) / 1000;
const TREE = { 'backup-type': 'host', 'backup-id': 'web', 'backup-time': TIME };
const DISK = { ...TREE, 'backup-type': 'vm', 'backup-id': '101' };
const ended: (() => void)[] = [];
let rig: ServerRig;
let alice: Account;
let eve: Account;

before(async () => {
  rig = await startRig({ after: (end) => void ended.unshift(end) });
  alice = await rig.newcomer('alice', 'DatastorePowerUser');
  eve = await rig.newcomer('eve', 'DatastorePowerUser');
  makeTree();
  writeFileSync(rig.path('disk'), randomBytes(20 * MIB + 4096));
  truncateSync(rig.path('disk'), 90 * MIB);
  writeFileSync(rig.path('huge'), 'x');
  truncateSync(rig.path('huge'), HUGE_BYTES);
  writeFileSync(rig.path('vm.conf'), 'cores: 4\n');
  await alice.run('backup', '--group', 'host/web', `root.tree:${rig.path('src')}`, '--time', WHEN);
  const disks = [`disk0.img:${rig.path('disk')}`, `huge.img:${rig.path('huge')}`, `vm.conf:${rig.path('vm.conf')}`];
  await alice.run('backup', '--group', 'vm/101', ...disks, '--time', WHEN);
  await alice.run('key', 'create', rig.path('key'), '--kdf', 'none');
});
after(() => {
  for (const end of ended) end();
});

/** A shell line in a directory, with a locale in which names are bytes. */
function sh(line: string): string {
  const env = { ...process.env, LC_ALL: 'C' };
  return execFileSync('bash', ['-ec', line], { cwd: rig.directory, env, maxBuffer: 256 * MIB }).toString('latin1');
}

function makeTree(): void {
  mkdirSync(rig.path('src'));
  writeFileSync(rig.path('src/big'), randomBytes(9 * MIB + 1));
  const sparse = openSync(rig.path('src/sparse'), 'w');
  writeSync(sparse, randomBytes(100_000), 0, 100_000, 30 * MIB);
  truncateSync(rig.path('src/sparse'), 64 * MIB);
  sh(
    String.raw`cd src; mkdir -p dir/sub; echo hello > dir/file; ln dir/file dir/hard; ln -s file dir/soft; ln -s /etc/passwd out; mkfifo pipe; : > empty
    head -c 3000 /dev/urandom > dir/sub/some; printf x > dir/$'bad\xff\xfename'; printf y > $'dir/new\nline'; printf z > dir/üñí
    mkdir many; for i in $(seq 1500); do echo $i > many/$i; done; chmod 4750 dir/sub/some; touch -d '2001-02-03 04:05:06.789' dir/file
    setfattr -n user.foo -v bar dir/file; setfattr -n user.bin -v 0x00ff0a dir/sub`,
  );
}

const base64 = (path: string): string => Buffer.from(path, 'latin1').toString('base64');
const urlOf = (path: string, query: object): string =>
  `/api2/json${BASE}/${path}?${new URLSearchParams(query as Record<string, string>)}`;

/** An answer as it begins. */
async function begin(who: Account, path: string, query: object, headers = {}): Promise<IncomingMessage> {
  const { host, port } = rig.server;
  const asked = request({
    ...{ host, port, path: urlOf(path, query), rejectUnauthorized: false, agent: false },
    headers: { authorization: `PBSAPIToken=${who.authId}:${who.secret}`, ...headers },
  });
  asked.on('error', () => {});
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.on('error', () => {});
  return response;
}

async function bytesOf(response: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

async function download(who: Account, path: string, query: object, headers = {}): Promise<Buffer> {
  const response = await begin(who, path, query, headers);
  const bytes = await bytesOf(response);
  assert.ok([200, 206].includes(response.statusCode as number), bytes.toString().slice(0, 500));
  return bytes;
}

interface Row {
  readonly filepath: string;
  readonly text: string;
  readonly type: string;
}

async function catalog(filepath: string): Promise<Row[]> {
  const { data } = JSON.parse((await download(alice, 'catalog', { ...TREE, filepath })).toString()) as { data: Row[] };
  return data;
}

/** All that is to come back, without where holes are, which tar rounds to blocks, and the time of the top, which unpacking changes. */
function seen(path: string): Record<string, Omit<Seen, 'data'>> {
  return Object.fromEntries(
    Object.entries(seenTree(rig.path(path))).map(([name, { data: _, ...rest }]) => [
      name,
      name === '' ? { ...rest, mtimeNs: 0n } : rest,
    ]),
  );
}

function unpacked(archive: Buffer): Record<string, Omit<Seen, 'data'>> {
  rmSync(rig.path('out'), { recursive: true, force: true });
  mkdirSync(rig.path('out'));
  writeFileSync(rig.path('archive.tar.zst'), archive);
  sh('zstd -qt archive.tar.zst');
  sh('zstd -dqc archive.tar.zst | tar --xattrs --xattrs-include="*" --numeric-owner -C out -xpf -');
  return seen('out');
}

test('a tree is browsed down to its files, whatever their names are, and each comes as it was', async () => {
  const [archive] = await catalog('root');
  assert.equal(archive?.text, 'root.tree');
  const files: string[] = [];
  const walk = async (filepath: string, path: string): Promise<void> => {
    for (const row of await catalog(filepath)) {
      const name = Buffer.from(row.filepath, 'base64').toString('latin1').split('/').at(-1) as string;
      files.push(`${path}${name}`);
      if (row.type === 'd') await walk(row.filepath, `${path}${name}/`);
    }
  };
  await walk(archive?.filepath as string, '');
  assert.deepEqual(
    files.sort(),
    Object.keys(seenTree(rig.path('src')))
      .filter((path) => path !== '')
      .sort(),
  );
  for (const path of ['big', 'sparse', 'empty', 'dir/hard', 'dir/bad\xff\xfename', 'dir/new\nline', 'many/1499']) {
    const got = await download(alice, 'pxar-file-download', { ...TREE, filepath: base64(`/root.tree/${path}`) });
    assert.ok(got.equals(readFileSync(Buffer.from(`${rig.path('src')}/${path}`, 'latin1'))), path);
  }
  for (const path of ['out', 'pipe']) {
    const response = await begin(alice, 'pxar-file-download', { ...TREE, filepath: base64(`/root.tree/${path}`) });
    assert.equal(response.statusCode, 400);
    assert.match((await bytesOf(response)).toString(), /symbolic link|no regular file/);
  }
});

test('a directory unpacks, with real tar and zstd, to what was backed up', { skip: !isRoot }, async () => {
  const whole = await download(alice, 'pxar-file-download', { ...TREE, filepath: base64('/root.tree') });
  assert.ok(whole.length < 30 * MIB, 'holes take no room');
  assert.deepEqual(unpacked(whole), seen('src'));
  const part = await download(alice, 'pxar-file-download', { ...TREE, filepath: base64('/root.tree/dir'), tar: '1' });
  assert.deepEqual(unpacked(part), seen('src/dir'));
  writeFileSync(rig.path('plain.tar'), await download(alice, 'download', { ...TREE, 'file-name': 'root.tree' }));
  assert.match(sh('tar -tf plain.tar | sort'), /\.\/dir\/file\n/);
});

test('a disk comes byte for byte, also in parts, and curl goes on with one that was broken off', async () => {
  const disk = readFileSync(rig.path('disk'));
  assert.ok((await download(alice, 'download', { ...DISK, 'file-name': 'disk0.img' })).equals(disk));
  for (const [start, end] of [
    [0, 1],
    [16 * MIB - 3, 16 * MIB + 5],
    [disk.length - 7, disk.length],
  ] as const) {
    const range = `bytes=${start}-${end - 1}`;
    const part = await download(alice, 'download-decoded', { ...DISK, 'file-name': 'disk0.img' }, { range });
    assert.ok(part.equals(disk.subarray(start, end)), range);
  }
  writeFileSync(rig.path('got.img'), disk.subarray(0, 30 * MIB + 11));
  const url = `https://${rig.server.host}:${rig.server.port}${urlOf('download', { ...DISK, 'file-name': 'disk0.img' })}`;
  sh(`curl -sfk -C - -o got.img -H 'authorization: PBSAPIToken=${alice.authId}:${alice.secret}' '${url}'`);
  assert.ok(readFileSync(rig.path('got.img')).equals(disk));
  assert.equal((await download(alice, 'download', { ...DISK, 'file-name': 'vm.conf' })).toString(), 'cores: 4\n');
});

test('to another owner it is as if it were not there, and an encrypted snapshot is told how to be read', async () => {
  const refusal = async (who: Account, path: string, query: object): Promise<string> => {
    const response = await begin(who, path, query);
    assert.equal(response.statusCode, 400);
    return (await bytesOf(response)).toString();
  };
  for (const [path, more] of [
    ['catalog', { filepath: 'root' }],
    ['pxar-file-download', { filepath: base64('/root.tree/big') }],
    ['download', { 'file-name': 'root.tree' }],
  ] as const) {
    const theirs = await refusal(eve, path, { ...TREE, ...more });
    const nowhere = await refusal(eve, path, { ...TREE, 'backup-id': 'gone', ...more });
    assert.equal(theirs.replace('host/web', 'X'), nowhere.replace('host/gone', 'X'));
  }
  const sealed = ['backup', '--group', 'host/safe', `root.tree:${rig.path('src')}`, '--keyfile', rig.path('key')];
  await alice.run(...sealed, '--time', WHEN, '--acknowledge-lost-key');
  const safe = { ...TREE, 'backup-id': 'safe' };
  for (const [path, more] of [
    ['catalog', { filepath: base64('/root.tree') }],
    ['download', { 'file-name': 'root.tree' }],
  ] as const) {
    const text = await refusal(alice, path, { ...safe, ...more });
    assert.match(text, /encrypted and the server has no key: use holdfast restore/);
    assert.doesNotMatch(text, /big|sparse|dir/);
  }
});

function rssBytes(): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${rig.server.pid}/status`, 'utf8')) ?? [];
  return Number(kib) * 1024;
}

/** Of the server so far. */
function cpuSeconds(): number {
  const fields = readFileSync(`/proc/${rig.server.pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function running(): Promise<number> {
  return (await rig.admin.call<{ read: number }>('GET', `${BASE}/active-operations`)).read;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, 'it does not come to that');
    await sleep(50);
  }
}

test('slow readers of a disk of 4 GiB cost the server little memory and no work, and it is free when they leave', async (t) => {
  const query = { ...DISK, 'file-name': 'huge.img' };
  const readers: IncomingMessage[] = [];
  t.after(() => {
    for (const reader of readers) reader.destroy();
  });
  const beforeBytes = rssBytes();
  for (let count = 0; count < 4; count++) readers.push(await begin(alice, 'download', query));
  const fifth = await begin(alice, 'download', query);
  assert.equal(fifth.statusCode, 400);
  assert.match((await bytesOf(fifth)).toString(), /4 downloads of alice@local are running/);
  let most = 0;
  let got = 0;
  const reading = performance.now() + 4000;
  const beforeCpu = cpuSeconds();
  while (performance.now() < reading) {
    for (const reader of readers) got += (reader.read() as Buffer | null)?.length ?? 0;
    most = Math.max(most, rssBytes() - beforeBytes);
    await sleep(20);
  }
  const usedCpu = cpuSeconds() - beforeCpu;
  t.diagnostic(
    `4 slow readers: ${Math.round(most / MIB)} MiB more, ${usedCpu.toFixed(2)} s of CPU for ${Math.round(got / MIB)} MiB`,
  );
  assert.ok(most < 200 * MIB, `the server took ${Math.round(most / MIB)} MiB more`);
  assert.ok(got < 2 * 1024 * MIB, 'they were not slow');
  assert.equal(await running(), 4);
  for (const reader of readers) reader.destroy();
  await until(async () => (await running()) === 0);
  await sleep(300);
  const idleCpu = cpuSeconds();
  await sleep(1000);
  assert.ok(cpuSeconds() - idleCpu < 0.5, `the server is still busy: ${cpuSeconds() - idleCpu} s of CPU in a second`);
  assert.ok((await download(alice, 'download', { ...query, 'file-name': 'vm.conf' })).length > 0);
});

test('the log of a task is there while it runs, and comes whole as a file', async () => {
  type Row = { upid: string };
  type Log = { data: { n: number; t: string }[]; total: number; active: boolean };
  const session = await rig.admin.call<{ session: string }>('POST', `${BASE}/sessions`, {
    ...{ kind: 'backup', 'backup-type': 'vm', 'backup-id': '7' },
  });
  const [task] = await rig.admin.call<Row[]>('GET', '/nodes/localhost/tasks?running=1');
  const path = `/nodes/localhost/tasks/${encodeURIComponent(task?.upid as string)}/log`;
  const log = async (): Promise<Log> => JSON.parse(await rig.admin.text(`${path}?test-status=1&limit=500`)) as Log;
  const live = await log();
  assert.equal(live.active, true);
  assert.ok(live.data.length > 0 && live.data.length === live.total);
  assert.doesNotMatch(await rig.admin.text(`${path}?download=1`), /TASK /);
  await rig.admin.call('DELETE', `${BASE}/sessions/${session.session}`);
  await until(async () => !(await log()).active);
  const { data, total } = await log();
  assert.ok(total > live.total);
  assert.deepEqual(data.slice(0, live.total), live.data, 'lines stay as they were');
  assert.equal(await rig.admin.text(`${path}?download=1`), data.map(({ t }) => `${t}\n`).join(''));
});
