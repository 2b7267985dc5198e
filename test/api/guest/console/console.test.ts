// The serial console over a real WebSocket: who gets it, what passes, and all that ends it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { ConsoleLine } from '../../../../src/api/guest/console/console-line.ts';
import { Consoles } from '../../../../src/api/guest/console/consoles.ts';
import { GuestConsole } from '../../../../src/api/guest/console/guest-console.ts';
import { parseAuthId, parseUserId } from '../../../../src/schema/auth-id.ts';
import { ROOT as ADMIN, passwordOf } from '../../../auth/access-fixture.ts';
import { FakeSerial } from '../fake-guests.ts';
import { GuestRig } from '../guest-rig.ts';

const VM = '/nodes/pve1/qemu/100';
const USER = 'user@pve';
const LIMIT = { timeout: 30_000 };

interface Offer {
  readonly user: string;
  readonly ticket: string;
  readonly port: number;
  readonly upid: string;
}

class Client {
  readonly socket: WebSocket;
  readonly messages: string[] = [];
  /** Code and reason. */
  readonly closed: Promise<string>;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data) => this.messages.push(String(data)));
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', (code, reason) => resolve(`${code} ${reason}`));
    });
  }

  async greets(text: string, end = '\n'): Promise<this> {
    await once(this.socket, 'open');
    this.socket.send(Buffer.from(text + end));
    return this;
  }

  /** Waits until so many messages came, and gives them. */
  async hears(count: number): Promise<string[]> {
    while (this.messages.length < count) await once(this.socket, 'message', { signal: AbortSignal.timeout(5000) });
    return this.messages;
  }
}

async function openRig(t: TestContext) {
  const rig = await GuestRig.open(t);
  rig.guests.add(100, { serial0: 'socket', serial1: 'socket' });
  (rig.guests.all.get(100) ?? assert.fail()).isRunning = true;
  rig.guests.add(101);
  await rig.grant(USER, { '/vms/100': 'PVEVMUser', '/vms/101': 'PVEVMUser' });
  await rig.app.listen({ host: '127.0.0.1', port: 0 });
  const origin = `ws://127.0.0.1:${(rig.app.server.address() as AddressInfo).port}`;
  const offer = async (as = USER, parameters = {}): Promise<Offer> => {
    const { status, reason, json } = await rig.call(as, 'POST', `${VM}/termproxy`, parameters);
    assert.equal(status, 200, reason);
    return json.data as Offer;
  };
  const dial = (as: string | undefined, { port, ticket }: Pick<Offer, 'port' | 'ticket'>, vm = VM): Client => {
    const query = `port=${port}&vncticket=${ticket}`;
    const socket = new WebSocket(`${origin}/api2/json${vm}/vncwebsocket?${query}`, 'binary', {
      headers: rig.headers(as),
    });
    t.after(() => socket.terminate());
    return new Client(socket);
  };
  const connect = async (as = USER, parameters = {}) => {
    const offered = await offer(as, parameters);
    const client = await dial(as, offered).greets(`${offered.user}:${offered.ticket}`);
    await client.hears(1);
    return { client, offered, serial: rig.guests.serials.at(-1) ?? assert.fail() };
  };
  return { rig, offer, dial, connect };
}

async function refusal(client: Client): Promise<number> {
  const signal = AbortSignal.timeout(5000);
  const [, response] = (await once(client.socket, 'unexpected-response', { signal })) as [
    unknown,
    { statusCode: number },
  ];
  client.socket.terminate();
  return response.statusCode;
}

test(
  'what is typed goes to the guest, what it says comes back, and the task ends with the console',
  LIMIT,
  async (t) => {
    const { rig, connect } = await openRig(t);
    const { client, offered, serial } = await connect();
    assert.deepEqual([client.messages, client.socket.protocol], [['OK'], 'binary']);
    assert.match(offered.upid, /^UPID:pve1:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:vncproxy:100:user@pve:$/);
    serial.push('login: ');
    assert.deepEqual(await client.hears(2), ['OK', 'login: ']);
    client.socket.send('1:120:40:0:5:ro');
    client.socket.send(Buffer.from('ot\n2'));
    await serial.hears('root\n');
    serial.push('Password: ');
    assert.equal((await client.hears(3))[2], 'Password: ');
    const task = `/nodes/pve1/tasks/${offered.upid}`;
    assert.equal((await rig.data<{ status: string }>('GET', `${task}/status`)).status, 'running');
    client.socket.close();
    assert.equal(await rig.ended(offered.upid), 'OK');
    assert.equal(serial.destroyed, true);
    const log = await rig.data<{ t: string }[]>('GET', `${task}/log`);
    assert.deepEqual(
      log.map((line) => line.t),
      ['a console on serial0 of VM 100 waits for its client', 'the client went away', 'TASK OK'],
    );
    assert.deepEqual(rig.bugs, []);
  },
);

test('a console is for whom it was given, for that guest, and once', LIMIT, async (t) => {
  const { rig, offer, dial } = await openRig(t);
  await rig.grant('other@pve', { '/vms': 'PVEVMUser' });
  await rig.grant('auditor@pve', { '/': 'PVEAuditor' });
  const offered = await offer();
  assert.equal(await refusal(dial(undefined, offered)), 401);
  assert.equal(await refusal(dial('other@pve', offered)), 401);
  assert.equal(await refusal(dial('auditor@pve', offered)), 403);
  assert.equal(await refusal(dial(USER, offered, '/nodes/pve1/qemu/101')), 401);
  assert.equal(await refusal(dial(USER, { ...offered, ticket: `${offered.ticket}x` })), 401);
  assert.equal(await refusal(dial(USER, { ...offered, port: 5999 })), 401);
  const looked = await rig.call(USER, 'GET', `${VM}/vncwebsocket`, { port: offered.port, vncticket: offered.ticket });
  assert.deepEqual([looked.status, looked.json.data], [200, { port: String(offered.port) }]);
  const client = await dial(USER, offered).greets(`${USER}:${offered.ticket}`);
  await client.hears(1);
  assert.equal(await refusal(dial(USER, offered)), 401);
  assert.notEqual((await offer()).port, offered.port);
  const { status, json } = await rig.call('auditor@pve', 'POST', `${VM}/termproxy`);
  assert.deepEqual([status, json.data], [403, null]);
});

test('a console that nobody takes is over, and its task failed', async () => {
  const consoles = new Consoles({ takenWithinMs: 20 });
  const authId = parseAuthId(USER);
  const late = consoles.offer({ authId, vmid: 100, serial: 0 });
  const shown = { authId, vmid: 100, port: late.port, ticket: late.ticket };
  assert.equal(consoles.find(shown), late);
  const nothing = (): void => undefined;
  const work = { upid: '', signal: new AbortController().signal, log: nothing, warn: nothing, progress: nothing };
  const running = late.run({ ...work, onProgress: nothing });
  await assert.rejects(running, { code: 'timed-out', message: 'no client came within 0.02 s' });
  assert.throws(() => consoles.find(shown), { status: 401 });
  assert.throws(() => consoles.take(shown), { status: 401 });
});

test('a client that shows another ticket, or types before it was let in, or no frame, is cut off', LIMIT, async (t) => {
  const { rig, offer, dial, connect } = await openRig(t);
  const [one, two] = [await offer(), await offer()];
  const crossed = await dial(USER, one).greets(`${USER}:${two.ticket}`);
  assert.match(await crossed.closed, /^1000 the client showed another ticket$/);
  const early = await dial(USER, two).greets(`${USER}:${two.ticket}\n0:1:x2`, '');
  assert.match(await early.closed, /^1000 the client did not wait/);
  assert.ok(rig.guests.serials.every(({ typed }) => typed === ''));
  const { client } = await connect();
  client.socket.send('no frame');
  assert.match(await client.closed, /^1000 the client sent what is no frame of a terminal$/);
  assert.deepEqual(rig.bugs, []);
});

test(
  'the end of the guest, of the task and of the server end a console, and so does who comes after',
  LIMIT,
  async (t) => {
    const { rig, connect } = await openRig(t);
    const first = await connect();
    const beside = await connect(USER, { serial: 'serial1' });
    const second = await connect('root@pam');
    assert.match(await first.client.closed, /^1000 root@pam opened another console on the same port$/);
    second.serial.destroy();
    assert.match(await second.client.closed, /^1000 the guest has ended$/);
    assert.equal(await rig.ended(second.offered.upid), 'OK');
    await rig.data('DELETE', `/nodes/pve1/tasks/${beside.offered.upid}`);
    assert.match(await beside.client.closed, /^1000 the task was aborted$/);
    assert.match(await rig.ended(beside.offered.upid), /^aborted/);
    const last = await connect();
    rig.consoles.close();
    assert.match(await last.client.closed, /^1000 the server is stopping$/);
    assert.equal(last.serial.destroyed, true);
  },
);

test('a console is there for a guest that runs and has the port, and a hundred at most are open', LIMIT, async (t) => {
  const { rig, offer } = await openRig(t);
  const wrong = await rig.call(USER, 'POST', `${VM}/termproxy`, { serial: 'serial2' });
  assert.deepEqual([wrong.status, wrong.json.errors], [400, { serial: 'unable to find a serial interface' }]);
  (rig.guests.all.get(100) ?? assert.fail()).isRunning = false;
  assert.match((await rig.call(USER, 'POST', `${VM}/termproxy`)).reason, /^VM 100 not running/);
  (rig.guests.all.get(100) ?? assert.fail()).isRunning = true;
  const offers: Offer[] = [];
  for (let count = 0; count < 100; count++) offers.push(await offer());
  assert.equal(new Set(offers.map(({ port }) => port)).size, 100);
  assert.match((await rig.call(USER, 'POST', `${VM}/termproxy`)).reason, /^100 consoles are open/);
  const { port, upid } = offers[7] as Offer;
  await rig.data('DELETE', `/nodes/pve1/tasks/${upid}`);
  assert.equal((await offer()).port, port);
});

test('a guest that reads nothing ends a console, and a client that reads nothing is not sent on', LIMIT, async (t) => {
  const { rig, connect } = await openRig(t);
  const { client, serial } = await connect();
  serial.isDeaf = true;
  client.socket.send(`0:2000000:${'x'.repeat(60_000)}`);
  for (let sent = 60_000; sent < 2_000_000; sent += 50_000) client.socket.send('x'.repeat(50_000));
  assert.match(await client.closed, /^1000 the guest does not read what is typed$/);
  assert.deepEqual(rig.bugs, []);

  const place = { port: 5900, ticket: 'ticket' };
  const console = new GuestConsole({ authId: parseAuthId(USER), vmid: 100, serial: 0 }, place, 1000);
  console.take();
  const guest = new FakeSerial();
  const said: string[] = [];
  const line = new ConsoleLine(
    console,
    {
      send: () => assert.fail(),
      sendBytes: (bytes) => said.push(String(bytes)),
      bufferedAmount: 0,
      close: (reason) => said.push(reason),
      terminate: () => said.push('terminated'),
    },
    { open: async () => guest, mayGoOn: async () => true, rightsEveryMs: 1000 },
  );
  line.received(`${USER}:ticket\n`);
  await sleep(20);
  // The line takes nothing: the guest is not read on.
  for (const text of ['a', 'b', 'c']) guest.push(text);
  await sleep(20);
  assert.deepEqual(said, ['OK', 'a']);
  console.end('the test is over');
  await sleep(20);
  assert.equal(guest.destroyed, true);
  line.closed();
  assert.deepEqual(said, ['OK', 'a', 'the test is over']);
});

test('whoever loses the right, or the password, may not go on', LIMIT, async (t) => {
  const { rig, connect } = await openRig(t);
  const { access } = rig.fixture;
  const right = { path: '/vms/100', role: 'PVEVMUser', authId: parseAuthId(USER) };
  const [one, other] = [await connect(), await connect('root@pam', { serial: 'serial1' })];
  await sleep(150);
  access.changeAcl(ADMIN, { ...right, delete: true });
  assert.match(await one.client.closed, /^1000 the right to the console is gone$/);
  assert.equal(one.serial.destroyed, true);
  assert.equal(other.client.socket.readyState, WebSocket.OPEN, "others' go on");
  access.changeAcl(ADMIN, right);
  const again = await connect();
  await access.setPassword(ADMIN, parseUserId(USER), 'another long password', passwordOf('root@pam'));
  assert.match(await again.client.closed, /^1000 the right to the console is gone$/);
});
