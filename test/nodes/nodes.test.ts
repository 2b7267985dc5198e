// Which agent is let in, and what is known of a node, over connections in memory.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentConnection } from '../../src/nodes/agent-connection.ts';
import { NodeOrders } from '../../src/nodes/node-orders.ts';
import { Nodes } from '../../src/nodes/nodes.ts';
import { parseAuthId } from '../../src/schema/auth-id.ts';
import type { Heartbeat } from '../../src/transport/control/limits.ts';
import { addUser, openFixture, ROOT, withCode } from '../auth/access-fixture.ts';
import { openEnrolments } from './enrolments-fixture.ts';
import { FakeSocket } from './fake-socket.ts';

const MACHINE = 'ab'.repeat(32);
const NEVER: Heartbeat = { pingMs: 3_600_000, deadMs: 7_200_000 };

async function rig(t: TestContext, heartbeat = NEVER) {
  const fixture = await openFixture(t);
  const user = await addUser(fixture, 'agents');
  const { store, enrolments } = openEnrolments(fixture);
  const reports: string[] = [];
  const report = (message: string): void => void reports.push(message);
  const orders = new NodeOrders({ tasks: { start: () => assert.fail('no order is given here') }, report });
  const nodes = new Nodes({
    store,
    enrolments,
    orders,
    clock: fixture.clock.read,
    version: '0.1',
    heartbeat,
    answerMs: 300,
    report,
  });
  t.after(() => nodes.close());
  const { secret } = enrolments.add(ROOT, { node: 'web1', user });
  const { tokenid } = enrolments.redeem({
    node: 'web1',
    secret,
    machineId: MACHINE,
    hostName: 'web1.example',
    address: '192.0.2.7',
  });
  const credentials = { isGood: true };
  const dial = (address = '192.0.2.7', authId = tokenid) => {
    const socket = new FakeSocket();
    const caller = { authId, address, isStillGood: async () => credentials.isGood };
    const connection = nodes.accept('web1', caller, socket) as AgentConnection;
    return { socket, connection };
  };
  return { ...fixture, nodes, store, tokenid, dial, reports, credentials };
}

function hello(more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    type: 'hello',
    protocol: 1,
    version: '0.2',
    instance: '11'.repeat(16),
    'host-name': 'web1.example',
    'machine-id': MACHINE,
    'boot-id': 'boot-1',
    orders: [],
    ...more,
  });
}

/** Lets what was said take effect. */
const settle = async (): Promise<void> => await sleep(5);

/** Looks until it is so. */
async function until(isSo: () => boolean, what: string): Promise<void> {
  for (const endMs = performance.now() + 20_000; !isSo(); await sleep(5)) assert.ok(performance.now() < endMs, what);
}

test('an agent that says hello is welcome, and what it said is known also after a restart of the server', async (t) => {
  const { nodes, store, dial } = await rig(t);
  assert.equal(nodes.get('web1').status, 'offline');
  const { socket, connection } = dial('192.0.2.9');
  connection.received(hello());
  await settle();
  assert.deepEqual(socket.sent, [{ type: 'welcome', protocol: 1, version: '0.1' }]);
  const { status, version, address } = nodes.get('web1');
  assert.deepEqual([status, version, address], ['online', '0.2', '192.0.2.9']);
  connection.closed('gone');
  assert.equal(nodes.get('web1').status, 'offline');
  const { version: kept, bootId, address: from } = store.find('web1') ?? assert.fail();
  assert.deepEqual([kept, bootId, from], ['0.2', 'boot-1', '192.0.2.9']);
});

test('a second agent is refused while the first answers, and takes the place of one that does not', async (t) => {
  const { nodes, dial } = await rig(t);
  const first = dial('192.0.2.7');
  first.connection.received(hello());
  await settle();
  first.socket.onPing = () => first.connection.received('{"type":"pong"}');
  const second = dial('192.0.2.8');
  second.connection.received(hello({ instance: '22'.repeat(16) }));
  await settle();
  const [refused] = second.socket.of('refused');
  assert.equal(refused?.code, 'node-duplicate');
  assert.match(
    String(refused?.message),
    /another agent with the identity of node web1 is connected, from 192\.0\.2\.7/,
  );
  assert.match(second.socket.ended ?? '', /^closed/);
  assert.equal(first.socket.ended, undefined);
  // The first one's machine was cut off: its line is still open, and nobody answers.
  first.socket.onPing = () => {};
  const third = dial('192.0.2.8');
  third.connection.received(hello({ instance: '33'.repeat(16) }));
  await until(() => third.socket.of('welcome').length === 1, 'it is let in when the first has not answered');
  assert.equal(first.socket.ended, 'terminated');
  assert.equal(nodes.get('web1').address, '192.0.2.8');
  assert.equal(nodes.get('web1').status, 'online');
});

test('an agent that comes back replaces its own line at once, whether or not that one answers', async (t) => {
  const { nodes, dial } = await rig(t);
  const before = dial();
  before.connection.received(hello());
  await settle();
  const after = dial();
  after.connection.received(hello());
  await settle();
  assert.equal(before.socket.ended, 'terminated');
  assert.equal(after.socket.of('welcome').length, 1);
  assert.equal(nodes.get('web1').status, 'online');
});

test('another machine, another token, another protocol: each is refused with what to do', async (t) => {
  const { access, dial } = await rig(t);
  const refusal = async (text: string, authId?: string): Promise<[unknown, string]> => {
    const { socket, connection } = dial('192.0.2.7', authId === undefined ? undefined : parseAuthId(authId));
    connection.received(text);
    await settle();
    const [refused] = socket.of('refused');
    assert.equal(socket.of('welcome').length, 0);
    return [refused?.code, String(refused?.message)];
  };
  const [code, message] = await refusal(hello({ 'machine-id': 'cd'.repeat(32), 'host-name': 'clone' }));
  assert.equal(code, 'node-foreign');
  assert.match(message, /clone.*is not the one that enrolled as node web1.*--renew/);
  access.createToken(ROOT, 'agents@local' as never, 'other');
  assert.equal((await refusal(hello(), 'agents@local!other'))[0], 'permission-denied');
  const [old, advice] = await refusal(hello({ protocol: 2 }));
  assert.deepEqual([old, /install the same Holdfast at both/.test(advice)], ['protocol-failed', true]);
});

test('who does not begin with a hello, or says it twice, is cut off', async (t) => {
  const { dial } = await rig(t);
  const rude = dial();
  rude.connection.received(JSON.stringify({ type: 'progress', order: 'ab'.repeat(16), what: 'x', 'bytes-done': 1 }));
  assert.equal(rude.socket.ended, 'terminated');
  const twice = dial();
  twice.connection.received(hello());
  await settle();
  twice.connection.received(hello());
  await settle();
  assert.equal(twice.socket.ended, 'terminated');
});

test('a token that is good no more ends the connection with the next beat', async (t) => {
  const { nodes, dial, credentials } = await rig(t, { pingMs: 20, deadMs: 10_000 });
  const { socket, connection } = dial();
  connection.received(hello());
  await until(() => socket.of('ping').length > 1, 'two beats');
  assert.equal(socket.ended, undefined);
  credentials.isGood = false;
  await until(() => socket.ended !== undefined, 'it ends');
  assert.equal(socket.of('refused')[0]?.code, 'not-authenticated');
  assert.equal(nodes.get('web1').status, 'offline');
});

test('the last contact is shown at once, and written once a minute', async (t) => {
  const { nodes, store, dial, clock } = await rig(t, { pingMs: 10, deadMs: 10_000 });
  const { connection } = dial();
  connection.received(hello());
  await settle();
  const startMs = clock.nowMs;
  clock.passSeconds(59);
  await until(() => nodes.get('web1').lastContactMs === startMs + 59_000, 'a beat');
  assert.equal(store.find('web1')?.lastContactMs, startMs);
  clock.passSeconds(1);
  await until(() => store.find('web1')?.lastContactMs === startMs + 60_000, 'it is written');
});

test('a node that waits for its agent is shown as unknown; one that is removed loses its line', async (t) => {
  const { nodes, dial } = await rig(t);
  nodes.enrolments.add(ROOT, { node: 'web2', user: 'agents@local' as never });
  assert.deepEqual(
    nodes.list().map(({ name, status }) => [name, status]),
    [
      ['web1', 'offline'],
      ['web2', 'unknown'],
    ],
  );
  const { socket, connection } = dial();
  connection.received(hello());
  await settle();
  nodes.remove(ROOT, 'web1');
  assert.equal(socket.of('refused')[0]?.code, 'not-found');
  assert.throws(() => nodes.get('web1'), withCode('not-found'));
  assert.throws(() => nodes.requireAgent('web1', 'agents@local!agent-web1' as never), withCode('permission-denied'));
});

test('a server that ends cuts all lines, and takes no more', async (t) => {
  const { nodes, dial } = await rig(t);
  const { socket, connection } = dial();
  connection.received(hello());
  await settle();
  nodes.close();
  assert.equal(socket.ended, 'terminated');
  assert.equal(dial().connection, undefined);
});
