// Ends that nobody planned: the server killed or stopped in the middle of backups, a client killed. What was finished is there, what was not is
// nowhere to be seen, and the next run goes on with what had arrived.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pattern } from '../agent/nbd/servers.ts';
import { type BackupJson, listed, type Ran, start } from '../cli/holdfast.ts';
import { type Account, type ServerRig, startRig } from '../support/server/server-rig.ts';
import { TcpProxy } from '../support/server/tcp-proxy.ts';

const MIB = 1024 * 1024;
const AT_ONCE = 20;
/** More than a client keeps back for want of a whole body: as much has surely gone to the server when the rest waits. */
const KEPT_BACK_BYTES = 16 * MIB;
const SAID_CLEARLY = /session-gone|server-unreachable/;
const ended: (() => void)[] = [];
let rig: ServerRig;
let account: Account;
let proxy: TcpProxy;

before(async () => {
  rig = await startRig({ after: (end) => void ended.unshift(end) }, ['--drain', '2']);
  const { host, port, bulkPort } = rig.server;
  proxy = await TcpProxy.start('127.0.0.4', { host, ports: [port, bulkPort] });
  ended.unshift(() => void proxy.close().catch(() => undefined));
  account = (await rig.newcomer('vmhost', 'DatastorePowerUser')).at(proxy.host, port);
});
after(() => {
  for (const end of ended) end();
});

// A test that failed while the server was down is not to fail the others.
beforeEach(async () => {
  if (!rig.server.isRunning) await rig.server.start();
});

interface Held extends ReturnType<typeof start> {
  /** Gives the rest. */
  finish(): void;
}

/** A backup from standard input that has sent most of a first half to the server and waits for the rest. */
async function heldBackup(group: string, disk: Buffer): Promise<Held> {
  const half = disk.length / 2;
  const before = proxy.bytesUp;
  const args = ['backup', '--group', group, 'disk0.img:-', '--workers', '1', '--output-format', 'json'];
  const run = start(args, { env: account.env });
  run.child.stdin?.write(disk.subarray(0, half));
  await proxy.passed(before + half - KEPT_BACK_BYTES, AbortSignal.timeout(30_000));
  return { ...run, finish: () => run.child.stdin?.end(disk.subarray(half)) };
}

/** The whole backup once more: a stream again, which is cut in another way than a disk that is a file. */
async function again(group: string, disk: Buffer): Promise<BackupJson> {
  const args = ['backup', '--group', group, 'disk0.img:-', '--workers', '1', '--output-format', 'json'];
  const ran = await account.try(args, { stdin: disk });
  assert.equal(ran.code, 0, ran.stderr);
  return JSON.parse(String(ran.stdout)) as BackupJson;
}

async function restored(group: string, archive: string): Promise<Buffer> {
  return (await account.run('restore', `${group}/latest`, archive, '-')).stdout;
}

test('a server killed during a backup and started again: a clear end, and the next run adopts what was put', async () => {
  const disk = pattern(64 * MIB, 1);
  const held = await heldBackup('vm/1', disk);
  await sleep(500);
  await rig.server.end('SIGKILL');
  const manifests = readdirSync(rig.storePath, { recursive: true, encoding: 'utf8' });
  assert.deepEqual(
    manifests.filter((name) => name.endsWith('manifest.json')),
    [],
  );
  await rig.server.start();
  held.finish();
  const first = await held.ended;
  if (first.code !== 0) assert.match(first.stderr, SAID_CLEARLY);

  const before = proxy.bytesUp;
  const next = await again('vm/1', disk);
  const sent = proxy.bytesUp - before;
  assert.ok(sent < disk.length / 2 + KEPT_BACK_BYTES, `${sent} bytes were sent of ${disk.length}`);
  assert.ok(next.objectsAdopted > 0 || first.code === 0, 'what the killed server had taken over was adopted');
  assert.ok((await restored('vm/1', 'disk0.img')).equals(disk));
  await account.run('snapshot', 'list');
});

test('a server killed during twenty backups: what was finished is there, and all succeed in the end', async () => {
  const disks = Array.from({ length: AT_ONCE }, (_, place) => pattern(MIB + 1000 * place, 100 + place));
  const args = (place: number): string[] => {
    writeFileSync(rig.path(`disk-${place}`), disks[place] as Buffer);
    return ['backup', '--group', `vm/${100 + place}`, `d.img:${rig.path(`disk-${place}`)}`, '--workers', '1'];
  };
  const finished = new Set<number>();
  const runs = disks.map(async (_, place) => {
    const ran = await account.try(args(place));
    if (ran.code === 0) finished.add(place);
    return ran;
  });
  while (finished.size < AT_ONCE / 4) await sleep(20);
  await rig.server.end('SIGKILL');
  const sure = [...finished];
  await rig.server.start();
  const there = await listed(account);
  for (const place of sure)
    assert.ok(
      there.some((name) => name.startsWith(`vm/${100 + place}/`)),
      `${place} is gone`,
    );
  for (const ran of await Promise.all(runs)) if (ran.code !== 0) assert.match(ran.stderr, /run again|try again/);
  for (const place of disks.keys()) if (!finished.has(place)) await account.run(...args(place));
  const wrong = disks.map(async (disk, place) =>
    (await restored(`vm/${100 + place}`, 'd.img')).equals(disk) ? [] : [place],
  );
  assert.deepEqual((await Promise.all(wrong)).flat(), []);
  assert.ok(sure.length < AT_ONCE, 'the server was killed before all were done');
});

test('a client that is killed leaves no snapshot and holds up nobody', async () => {
  const disk = pattern(48 * MIB, 2);
  const held = await heldBackup('vm/2', disk);
  held.child.kill('SIGKILL');
  await held.ended;
  assert.deepEqual(await listed(account, 'vm/2'), []);
  writeFileSync(rig.path('conf'), 'cores: 4\n');
  await account.run('backup', '--group', 'vm/2', `vm.conf:${rig.path('conf')}`);
  await account.run('snapshot', 'forget', 'vm/2/latest');
  await account.run('backup', '--group', 'vm/3', `vm.conf:${rig.path('conf')}`);
});

test('a client that was killed holds up no end of the server, which waits for others for a minute', async () => {
  const waiting = await startRig({ after: (end) => void ended.unshift(end) });
  const own = await waiting.newcomer('vmhost', 'DatastoreBackup');
  const args = ['backup', '--group', 'vm/1', 'disk0.img:-', '--workers', '1'];
  const { child, ended: isOver } = start(args, { env: own.env });
  child.stdin?.write(pattern(48 * MIB, 4));
  while ((await waiting.admin.metrics()).get('holdfast_sessions_open') !== 1) await sleep(100);
  child.kill('SIGKILL');
  await isOver;
  const started = performance.now();
  assert.equal(await waiting.server.end('SIGTERM'), 0);
  assert.ok(performance.now() - started < 40_000);
});

test('SIGTERM of the server ends it at once, says so to clients, and their next run goes on', async () => {
  const disk = pattern(64 * MIB, 3);
  const held = await heldBackup('vm/4', disk);
  await sleep(500);
  const started = performance.now();
  assert.equal(await rig.server.end('SIGTERM'), 0);
  assert.ok(performance.now() - started < 15_000);
  await rig.server.start();
  held.finish();
  const ran: Ran = await held.ended;
  if (ran.code !== 0) assert.match(ran.stderr, SAID_CLEARLY);
  const before = proxy.bytesUp;
  await again('vm/4', disk);
  assert.ok(proxy.bytesUp - before < disk.length / 2 + KEPT_BACK_BYTES, `${proxy.bytesUp - before} bytes were sent`);
  assert.ok((await restored('vm/4', 'disk0.img')).equals(disk));
  assert.equal((await rig.admin.caller.get('GET', '/health/ready')).status, 200);
});

test('after all of that the store is whole', async () => {
  const admin = await rig.newcomer('admin', 'DatastoreAdmin');
  await admin.run('datastore', 'verify');
  await admin.run('datastore', 'gc', '--audit');
});
