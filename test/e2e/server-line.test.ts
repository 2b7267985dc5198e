// Lines as they are: cut again and again, slow, shared. A backup goes on where it was, and sends hardly anything twice.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pattern } from '../agent/nbd/servers.ts';
import { type Account, type ServerRig, startRig } from '../support/server/server-rig.ts';
import { type LineOptions, TcpProxy } from '../support/server/tcp-proxy.ts';

const MIB = 1024 * 1024;
const DISK_BYTES = 48 * MIB;
const CUTS = 20;
/** A cut loses the chunk that each of three connections was halfway through, and what the server had not read yet: measured 110 to 375 KB. */
const LOST_AT_CUT_BYTES = 512 * 1024;
const ended: (() => void)[] = [];
let rig: ServerRig;
let account: Account;

before(async () => {
  rig = await startRig({ after: (end) => void ended.unshift(end) });
  account = await rig.newcomer('vmhost', 'DatastoreBackup');
});
after(() => {
  for (const end of ended) end();
});

/** A line to the server at an address of its own, and the account behind it. */
async function line(t: { after(end: () => void): void }, host: string, options: LineOptions = {}) {
  const { port, bulkPort } = rig.server;
  const proxy = await TcpProxy.start(host, { host: rig.server.host, ports: [port, bulkPort] }, options);
  t.after(() => void proxy.close().catch(() => undefined));
  return { proxy, behind: account.at(host, port) };
}

function disk(name: string, bytes: number, seed: number): { path: string; content: Buffer } {
  const content = pattern(bytes, seed);
  writeFileSync(rig.path(name), content);
  return { path: rig.path(name), content };
}

async function restored(group: string): Promise<Buffer> {
  return (await account.run('restore', `${group}/latest`, 'd.img', '-')).stdout;
}

test('a line that is cut twenty times: the backup ends well and sends at most one percent again', async (t) => {
  const { proxy, behind } = await line(t, '127.0.0.5', { roundTripMs: 10, bytesPerSecond: 16 * MIB });
  const { path, content } = disk('cut', DISK_BYTES, 1);
  const started = proxy.bytesUp;
  const backup = behind.run('backup', '--group', 'vm/1', `d.img:${path}`);
  const step = DISK_BYTES / (CUTS + 2);
  const cutting = (async (): Promise<void> => {
    for (let cut = 1; cut <= CUTS; cut++) {
      await proxy.passed(started + cut * step, AbortSignal.timeout(50_000));
      proxy.cut();
    }
  })();
  await Promise.all([backup, cutting]);
  assert.equal(proxy.cuts, CUTS);
  const again = proxy.bytesUp - started - DISK_BYTES;
  const allowed = DISK_BYTES / 100 + CUTS * LOST_AT_CUT_BYTES;
  t.diagnostic(`${again} bytes more than the disk has went to the server in ${CUTS} cuts`);
  assert.ok(again <= allowed, `${again} bytes more than the disk has, ${allowed} are allowed`);
  assert.ok((await restored('vm/1')).equals(content));
});

test('a restore goes on over a line that is cut', async (t) => {
  const { proxy, behind } = await line(t, '127.0.0.5', { bytesPerSecond: 24 * MIB });
  const content = readFileSync(rig.path('cut'));
  const started = proxy.bytesDown;
  const restore = behind.run('restore', 'vm/1/latest', 'd.img', '-');
  while (proxy.bytesDown < started + DISK_BYTES / 3) await sleep(10);
  proxy.cut();
  while (proxy.bytesDown < started + (2 * DISK_BYTES) / 3) await sleep(10);
  proxy.cut();
  assert.ok((await restore).stdout.equals(content));
});

test('the same disk again costs next to nothing on the wire', async (t) => {
  const { proxy, behind } = await line(t, '127.0.0.5');
  await behind.run('backup', '--group', 'vm/1', `d.img:${rig.path('cut')}`);
  const wire = proxy.bytesUp + proxy.bytesDown;
  // Handshakes, the manifest, the pages and the chunk that is read back.
  assert.ok(wire < 400_000, `${wire} bytes`);
});

test('limits of bandwidth hold roughly, up and down', async (t) => {
  const { path, content } = disk('slow', 6 * MIB, 2);
  const timed = async (...args: string[]): Promise<number> => {
    const started = performance.now();
    await account.run(...args);
    return (performance.now() - started) / 1000;
  };
  const up = await timed('backup', '--group', 'vm/2', `d.img:${path}`, '--limit-upload', '3');
  const down = await timed('restore', 'vm/2/latest', 'd.img', rig.path('slow.out'), '--limit-download', '3');
  t.diagnostic(`6 MiB at 3 MiB a second: up ${up} s, down ${down} s`);
  for (const seconds of [up, down]) assert.ok(seconds > 1.6 && seconds < 8, `${seconds} s for 6 MiB at 3 MiB a second`);
  assert.ok(readFileSync(rig.path('slow.out')).equals(content));
});

test('eight clients at once: all succeed, and everything comes back', async () => {
  const clients = Array.from({ length: 8 }, (_, place) => disk(`many-${place}`, 5 * MIB + place, 50 + place));
  const all = async (use: (place: number) => Promise<unknown>): Promise<void> => {
    await Promise.all(clients.map(async (_, place) => await use(place)));
  };
  await all((place) =>
    account.run('backup', '--group', `vm/${10 + place}`, `d.img:${clients[place]?.path}`, '--workers', '1'),
  );
  await all(async (place) => {
    const { content } = clients[place] as { content: Buffer };
    assert.ok((await restored(`vm/${10 + place}`)).equals(content), `client ${place}`);
  });
});
