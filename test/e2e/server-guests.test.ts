// The life of a virtual machine through the guest dialect of a real server: real volumes and a real QEMU, which outlives the server.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { NodeDirectory } from '../../src/guests/node-directory.ts';
import { endQemu, findQemu } from '../../src/guests/qemu/qemu-process.ts';
import { parseGuestId } from '../../src/schema/guest-names.ts';
import { removeNodeTraces } from '../support/guests/node-traces.ts';
import { reasonForTools } from '../support/power-cut/scratch.ts';
import { freePorts } from '../support/server/free-ports.ts';
import { ApiCaller, type Method } from '../support/server/server-api.ts';
import { type ServerRig, startRig } from '../support/server/server-rig.ts';

const ID = parseGuestId(100);
/** A boot sector that answers on the first serial port: each letter in its other case. */
const ECHO = Buffer.alloc(512);
ECHO.set([0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xba, 0xf8, 0x03, 0xec, 0x34, 0x20, 0xee, 0xeb, 0xef]);
ECHO.set([0x55, 0xaa], 510);
/** One that writes the sector after itself, once, and then keeps its processor busy. */
const BUSY = Buffer.alloc(512);
BUSY.set([0x31, 0xc0, 0x8e, 0xc0, 0xb8, 0x01, 0x03, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xbb, 0x00, 0x7c, 0xcd, 0x13]);
BUSY.set([0xeb, 0xfe], 18);
BUSY.set([0x55, 0xaa], 510);
const skip = reasonForTools('qemu-system-x86_64', 'qemu-img');

suite('virtual machines at the server', { skip, timeout: 120_000 }, () => {
  const ended: (() => void)[] = [];
  let rig: ServerRig;
  let caller: ApiCaller;
  let origin: string;
  let nodePath: string;
  let directory: NodeDirectory;
  let node: string;
  let ticket: { cookie: string; csrfpreventiontoken: string };

  before(async () => {
    nodePath = mkdtempSync(join(tmpdir(), 'hft-node-'));
    directory = new NodeDirectory(nodePath);
    const port = await freePorts(1);
    rig = await startRig({ after: (end) => void ended.unshift(end) }, [
      ...['--node-dir', nodePath, '--guest-listen', `127.0.0.1:${port}`],
    ]);
    caller = new ApiCaller({ host: '127.0.0.1', port });
    origin = `wss://127.0.0.1:${port}/api2/json`;
    await rig.admin.makeUser('vmadmin@local', 'correct horse battery');
    await rig.admin.call('PUT', '/access/acl', { path: '/', 'auth-id': 'vmadmin@local', role: 'Admin' });
    const login = JSON.parse(
      (
        await caller.try('POST', '/access/ticket', {
          username: 'vmadmin@local',
          password: 'correct horse battery',
        })
      ).text,
    ).data;
    ticket = { cookie: `PVEAuthCookie=${login.ticket}`, csrfpreventiontoken: login.CSRFPreventionToken };
    [{ node }] = (await data('GET', '/nodes')) as { node: string }[];
  });

  after(async () => {
    for (const vmid of [100, 101, 102]) await endQemu(directory.run(parseGuestId(vmid)), undefined, 1_000);
    await caller?.close();
    for (const end of ended) end();
    rmSync(nodePath, { recursive: true, force: true });
    removeNodeTraces(directory);
  });

  // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes.
  async function data(method: Method, path: string, body?: object): Promise<any> {
    const { status, text } = await caller.try(method, path, body, ticket);
    assert.equal(status, 200, `${method} ${path}: ${text}`);
    return JSON.parse(text).data;
  }

  /** The exit status of the task that a call starts. */
  async function task(method: Method, path: string, body?: object): Promise<string> {
    const upid = await data(method, path, body);
    assert.equal(upid.split(':').length, 9, upid);
    for (;;) {
      const { status, exitstatus } = await data('GET', `/nodes/${node}/tasks/${upid}/status`);
      if (status === 'stopped') return exitstatus;
      await sleep(50);
    }
  }

  function writeBootSector(sector: Buffer): void {
    const disk = openSync(join(nodePath, 'storage', 'local', 'images', '100', 'vm-100-disk-0.raw'), 'r+');
    writeSync(disk, sector, 0, sector.length, 0);
    closeSync(disk);
  }

  test('is made, started, changed, stopped and destroyed', async () => {
    assert.equal(await data('GET', '/cluster/nextid'), '100');
    const devices = { virtio0: 'local:1,format=raw', serial0: 'socket', vga: 'none', balloon: 0 };
    const settings = { vmid: 100, name: 'web', memory: 64, kvm: 0, ...devices };
    assert.equal(await task('POST', `/nodes/${node}/qemu`, settings), 'OK');
    const vm = `/nodes/${node}/qemu/100`;
    const config = await data('GET', `${vm}/config`);
    assert.match(config.virtio0, /^local:100\/vm-100-disk-0\.raw,(.*,)?size=1G$/);
    assert.match(config.digest, /^[0-9a-f]{40}$/);
    assert.equal(await data('GET', '/cluster/nextid'), '101');
    assert.match(await task('POST', `${vm}/status/start`), /^(OK|WARNINGS: \d+)$/);
    const current = await data('GET', `${vm}/status/current`);
    assert.deepEqual([current.status, current.qmpstatus], ['running', 'running']);
    assert.ok(current.mem > 0 && Number.isInteger(current.mem), 'what QEMU takes');
    const rows = await data('GET', '/cluster/resources?type=vm');
    assert.deepEqual(
      rows.map((row: { id: string; status: string }) => [row.id, row.status]),
      [['qemu/100', 'running']],
    );
    assert.equal(await data('PUT', `${vm}/config`, { description: 'two\nlines', tags: 'a;b' }), null);
    assert.equal(await task('PUT', `${vm}/resize`, { disk: 'virtio0', size: '+1G' }), 'OK');
    assert.match((await data('GET', `${vm}/config`)).virtio0, /size=2G/);
    assert.equal(await data('PUT', `${vm}/config`, { cores: 2, name: 'db' }), null);
    const waiting = (await data('GET', `${vm}/pending`)).filter((row: object) => 'pending' in row || 'delete' in row);
    assert.deepEqual(waiting, [{ key: 'cores', pending: 2 }], 'a name has no part in what runs');
    assert.equal(await data('PUT', `${vm}/config`, { revert: 'cores' }), null);
    assert.equal((await data('GET', `${vm}/config`)).cores, undefined);
    const stale = await caller.try('PUT', `${vm}/config`, { name: 'x', digest: config.digest }, ticket);
    assert.match(stale.text, /detected modified configuration/);
    const refused = await caller.try('DELETE', vm, undefined, ticket);
    assert.deepEqual([refused.status, /VM 100 is running/.test(refused.text)], [500, true], 'one that runs stays');
    assert.equal(await task('POST', `${vm}/status/stop`), 'OK');
    assert.equal((await data('GET', `${vm}/status/current`)).status, 'stopped');
  });

  test('has a serial console, which ends with it', async () => {
    const vm = `/nodes/${node}/qemu/100`;
    writeBootSector(ECHO);
    assert.match(await task('POST', `${vm}/status/start`), /^(OK|WARNINGS: \d+)$/);
    const { user, ticket: shown, port, upid } = await data('POST', `${vm}/termproxy`);
    const query = `port=${port}&vncticket=${encodeURIComponent(shown)}`;
    const { cookie } = ticket;
    const socket = new WebSocket(`${origin}${vm}/vncwebsocket?${query}`, 'binary', {
      headers: { cookie },
      rejectUnauthorized: false,
    });
    ended.unshift(() => socket.terminate());
    const messages: string[] = [];
    socket.on('message', (bytes) => messages.push(String(bytes)));
    const closed = once(socket, 'close');
    await once(socket, 'open');
    socket.send(`${user}:${shown}\n`);
    // What is typed while the firmware is still at work is heard by nobody.
    for (let waited = 0; !messages.join('').includes('HELLO'); waited += 200) {
      assert.ok(waited < 60_000, `heard ${JSON.stringify(messages)}`);
      if (messages.length > 0) socket.send(Buffer.from('0:5:hello'));
      await sleep(200);
    }
    assert.equal(messages[0], 'OK');
    assert.equal(await task('POST', `${vm}/status/stop`), 'OK');
    assert.equal(String((await closed)[1]), 'the guest has ended');
    assert.equal((await data('GET', `/nodes/${node}/tasks/${upid}/status`)).exitstatus, 'OK');
    const stopped = await caller.try('POST', `${vm}/termproxy`, {}, ticket);
    assert.match(stopped.text, /VM 100 not running/);
  });

  test('what it reads, writes and computes is told', async () => {
    const vm = `/nodes/${node}/qemu/100`;
    writeBootSector(BUSY);
    assert.match(await task('POST', `${vm}/status/start`), /^(OK|WARNINGS: \d+)$/);
    let current = await data('GET', `${vm}/status/current`);
    for (let waited = 0; current.diskwrite === 0 || current.cpu < 0.7; waited += 1100) {
      assert.ok(waited < 60_000, JSON.stringify(current));
      await sleep(1100);
      current = await data('GET', `${vm}/status/current`);
    }
    assert.equal(current.diskwrite, 512);
    assert.ok(current.diskread >= 512 && current.diskread < 1024 ** 2, `${current.diskread} bytes read`);
    assert.ok(current.cpu <= 1, `${current.cpu}`);
    assert.deepEqual([current.netin, current.netout], [0, 0]);
    for (const path of [`/nodes/${node}/qemu`, '/cluster/resources?type=vm']) {
      const [row] = await data('GET', path);
      assert.equal(row.diskwrite, 512, path);
      assert.ok(row.cpu > 0.5 && row.mem > 0, path);
    }
    assert.equal(await task('POST', `${vm}/status/stop`), 'OK');
    const { cpu, diskread, diskwrite } = await data('GET', `${vm}/status/current`);
    assert.deepEqual([cpu, diskread, diskwrite], [0, 0, 0]);
  });

  test('some that hang hold up a list for 2 s, all together', async () => {
    const vmids = [101, 102];
    for (const vmid of vmids) {
      const settings = { vmid, name: `n${vmid}`, memory: 32, kvm: 0, vga: 'none', balloon: 0 };
      assert.equal(await task('POST', `/nodes/${node}/qemu`, settings), 'OK');
      assert.match(await task('POST', `/nodes/${node}/qemu/${vmid}/status/start`), /^(OK|WARNINGS: \d+)$/);
    }
    const pids = await Promise.all(vmids.map((vmid) => findQemu(directory.run(parseGuestId(vmid)))));
    try {
      for (const pid of pids) process.kill(pid ?? assert.fail(), 'SIGSTOP');
      for (const path of [`/nodes/${node}/qemu`, '/cluster/resources?type=vm']) {
        const started = performance.now();
        const rows: { vmid: number; status: string }[] = await data('GET', path);
        const tookMs = performance.now() - started;
        assert.deepEqual(
          rows.map(({ vmid, status }) => [vmid, status]),
          [
            [100, 'stopped'],
            [101, 'running'],
            [102, 'running'],
          ],
        );
        assert.ok(tookMs >= 1900 && tookMs < 4500, `${path} took ${tookMs} ms`);
      }
    } finally {
      for (const pid of pids) if (pid !== undefined) process.kill(pid, 'SIGCONT');
    }
    for (const vmid of vmids) {
      assert.equal(await task('POST', `/nodes/${node}/qemu/${vmid}/status/stop`), 'OK');
      assert.equal(await task('DELETE', `/nodes/${node}/qemu/${vmid}`), 'OK');
    }
  });

  test('outlives the server, which finds it again', async () => {
    const vm = `/nodes/${node}/qemu/100`;
    assert.match(await task('POST', `${vm}/status/start`), /^(OK|WARNINGS: \d+)$/);
    const pid = await findQemu(directory.run(ID));
    assert.ok(pid !== undefined);
    rig.server.kill();
    await sleep(200);
    assert.equal(await findQemu(directory.run(ID)), pid, 'QEMU goes on without the server');
    await rig.server.start();
    assert.equal((await data('GET', `${vm}/status/current`)).status, 'running');
    assert.equal(await task('POST', `${vm}/status/stop`), 'OK');
  });

  test('is gone when it is destroyed, with its volumes', async () => {
    const vm = `/nodes/${node}/qemu/100`;
    assert.equal(await task('DELETE', vm), 'OK');
    const { status, text } = await caller.try('GET', `${vm}/config`, undefined, ticket);
    assert.equal(status, 500);
    assert.match(text, /does not exist/);
    assert.ok(!existsSync(join(nodePath, 'guests', '100')));
    const images = join(nodePath, 'storage', 'local', 'images');
    assert.deepEqual(existsSync(images) ? readdirSync(images).filter((name) => name === '100') : [], []);
  });
});
