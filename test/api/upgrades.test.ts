// The control connection of an agent over a real socket: who is let in, with which status others are not, and what becomes of the connection.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { CONTROL_LIMITS } from '../../src/transport/control/limits.ts';
import { AGENT } from './fake-nodes.ts';
import { ApiRig } from './rig.ts';

const rig = new ApiRig();
let origin = '';

before(async () => {
  rig.access.grant(AGENT, {});
  await rig.app.listen({ host: '127.0.0.1', port: 0 });
  origin = `ws://127.0.0.1:${(rig.app.server.address() as AddressInfo).port}`;
});
after(() => rig.close());

function dial(as: string | undefined, path = '/api2/json/nodes/web1/control'): WebSocket {
  return new WebSocket(`${origin}${path}`, { headers: rig.headers(as) });
}

async function statusOf(socket: WebSocket): Promise<number> {
  socket.on('error', () => {});
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, { statusCode: number }];
  socket.terminate();
  return response.statusCode;
}

test('the agent gets a connection that carries texts both ways, and its end is told', async () => {
  const socket = dial(AGENT);
  await once(socket, 'open');
  socket.send('hello');
  const [answer] = await once(socket, 'message');
  assert.equal(String(answer), 'heard hello');
  assert.equal(rig.nodes.callers.at(-1)?.authId, AGENT);
  socket.close();
  await once(socket, 'close');
  assert.match(rig.nodes.texts.at(-1) ?? '', /^closed: the connection was closed/);
});

test('whoever is not the agent is refused before anything is upgraded', async () => {
  const taken = rig.nodes.sockets.length;
  assert.equal(await statusOf(dial(undefined)), 401);
  assert.equal(await statusOf(dial('root@pam')), 403);
  rig.access.grant('agents@pbs!other', {});
  assert.equal(await statusOf(dial('agents@pbs!other')), 403);
  assert.equal(await statusOf(dial(AGENT, '/api2/json/nodes/..%2fx/control')), 400);
  assert.equal(rig.nodes.sockets.length, taken);
  assert.deepEqual(rig.bugs, []);
});

test('a method that is no connection is answered like any other, and its socket is closed', async () => {
  assert.equal(await statusOf(dial('root@pam', '/api2/json/version')), 200);
  assert.equal(await statusOf(dial('root@pam', '/api2/json/no/such')), 404);
});

test('without an upgrade the call says whether the agent would be let in', async () => {
  const answer = await rig.call(AGENT, 'GET', '/nodes/web1/control');
  assert.deepEqual([answer.status, answer.json.data], [200, { protocol: 1 }]);
  assert.equal((await rig.call('root@pam', 'GET', '/nodes/web1/control')).status, 403);
});

test('credentials are looked at again as they were shown', async () => {
  const socket = dial(AGENT);
  await once(socket, 'open');
  const caller = rig.nodes.callers.at(-1);
  assert.equal(await caller?.isStillGood(), true);
  const token = rig.access.tokens.get(AGENT) ?? assert.fail();
  rig.access.tokens.set(AGENT, { ...token, secret: 'another' });
  assert.equal(await caller?.isStillGood(), false);
  rig.access.tokens.set(AGENT, token);
  socket.terminate();
});

test('a message that is too long, or no text, ends the connection', async () => {
  for (const send of [
    (socket: WebSocket) => socket.send('x'.repeat(CONTROL_LIMITS.messageBytes + 1)),
    (socket: WebSocket) => socket.send(Buffer.from('bytes')),
  ]) {
    const heard = rig.nodes.texts.filter((text) => !text.startsWith('closed')).length;
    const socket = dial(AGENT);
    socket.on('error', () => {});
    await once(socket, 'open');
    send(socket);
    await once(socket, 'close');
    assert.equal(rig.nodes.texts.filter((text) => !text.startsWith('closed')).length, heard);
  }
});
