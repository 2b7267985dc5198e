// The agent's end of a control connection, against servers that do not do what they should.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocketServer } from 'ws';
import { type ControlParts, keepConnected } from '../../../src/agent/service/control-client.ts';
import { OrderDesk } from '../../../src/agent/service/order-desk.ts';
import { ApiLine } from '../../../src/transport/client/api-line.ts';
import { makeCertificate } from '../../transport/client/certificate.ts';

/** A server that lets agents in, and leaves their upgrades without an answer. */
async function silentServer(t: TestContext) {
  const certificate = await makeCertificate('silent');
  const server = createServer(certificate, (_, response) => response.end('{"data":{"protocol":1}}'));
  const upgrades: number[] = [];
  server.on('upgrade', (_, socket) => {
    upgrades.push(performance.now());
    t.after(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { upgrades, port: (server.address() as AddressInfo).port, fingerprint: certificate.fingerprint };
}

function partsFor(port: number, fingerprint: string, onFailed: (error: unknown) => void): ControlParts {
  return {
    config: {
      host: '127.0.0.1',
      port,
      fingerprint,
      node: 'web1',
      user: 'agents@local',
      token: 'agent-web1',
      secret: 'secret',
      allowBackup: [],
      allowRestore: [],
    },
    machine: { machineId: 'ab'.repeat(32), bootId: 'boot', hostName: 'web1' },
    instance: '11'.repeat(16),
    version: '0.1',
    desk: new OrderDesk(() => assert.fail('no order is given here')),
    heartbeat: { pingMs: 20, deadMs: 60_000 },
    onConnected: () => assert.fail('nobody is there'),
    onFailed,
  };
}

test('an upgrade that nobody answers is waited for, beats or not, and ends when the agent does', async (t) => {
  const { upgrades, port, fingerprint } = await silentServer(t);
  const failures: unknown[] = [];
  const parts = partsFor(port, fingerprint, (error) => failures.push(error));
  const stop = new AbortController();
  const kept = keepConnected(parts, stop.signal);
  for (let waits = 0; upgrades.length === 0 && waits < 500; waits++) await sleep(20);
  await sleep(200);
  assert.deepEqual([upgrades.length, failures], [1, []]);
  stop.abort(new Error('the agent ends'));
  await kept;
});

test('an agent that ends between its question and its connection makes none', async (t) => {
  const { upgrades, port, fingerprint } = await silentServer(t);
  const stop = new AbortController();
  const close = ApiLine.prototype.close;
  t.mock.method(ApiLine.prototype, 'close', async function (this: ApiLine) {
    stop.abort(new Error('the agent ends'));
    await close.call(this);
  });
  await keepConnected(partsFor(port, fingerprint, assert.ifError), stop.signal);
  assert.deepEqual(upgrades, []);
});

test('a server of a later version: the agent says which kinds of orders it takes, refuses another, and the line stays', async (t) => {
  const certificate = await makeCertificate('later');
  const server = createServer(certificate, (_, response) => response.end('{"data":{"protocol":1}}'));
  const lines = new WebSocketServer({ server });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const stop = new AbortController();
  const failures: unknown[] = [];
  const port = (server.address() as AddressInfo).port;
  const parts = { ...partsFor(port, certificate.fingerprint, (error) => failures.push(error)), onConnected: () => {} };
  const connected = once(lines, 'connection');
  const kept = keepConnected(parts, stop.signal);
  const [line] = await connected;
  const heard: { type: string; kinds?: string[]; event?: unknown }[] = [];
  line.on('message', (data: Buffer) => heard.push(JSON.parse(data.toString())));
  const hears = async (type: string) => {
    for (let waits = 0; waits < 500; waits++, await sleep(10)) {
      const message = heard.find((each) => each.type === type);
      if (message !== undefined) return message;
    }
    return assert.fail(`no ${type} came`);
  };
  const say = (message: object): void => line.send(JSON.stringify(message));
  assert.deepEqual((await hears('hello')).kinds, ['backup', 'restore', 'vm-backup', 'vm-restore']);
  say({ type: 'welcome', protocol: 1, version: '9.0', 'of-a-later-version': true });
  say({ type: 'order', id: 'ab'.repeat(16), order: { kind: 'ct-backup', store: 'tank' } });
  assert.match(JSON.stringify((await hears('event')).event), /protocol-failed.*does not know orders of the kind/);
  heard.length = 0;
  say({ type: 'ping' });
  await hears('pong');
  assert.deepEqual(failures, []);
  stop.abort(new Error('the agent ends'));
  await kept;
});
