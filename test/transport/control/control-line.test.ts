import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlLine } from '../../../src/transport/control/control-line.ts';
import { requireKnown } from '../../../src/transport/control/known-orders.ts';
import { CONTROL_LIMITS, type Heartbeat } from '../../../src/transport/control/limits.ts';
import { AgentMessage, boundedText, ServerMessage } from '../../../src/transport/control/messages.ts';
import type { HoldfastError } from '../../../src/util/errors.ts';
import { FakeSocket } from '../../nodes/fake-socket.ts';

const NEVER: Heartbeat = { pingMs: 3_600_000, deadMs: 7_200_000 };

function serverEnd(heartbeat = NEVER) {
  const socket = new FakeSocket();
  const heard: AgentMessage[] = [];
  const closed: string[] = [];
  const line: ControlLine<typeof AgentMessage, ServerMessage> = new ControlLine(
    socket,
    AgentMessage,
    { onMessage: (message) => heard.push(message), onClosed: (reason) => closed.push(reason) },
    heartbeat,
  );
  return { socket, heard, closed, line };
}

const EVENT = { type: 'event', order: 'ab'.repeat(16), event: { seq: 1, event: 'log', text: 'a line' } } as const;

test('a message is handed on as it is, a ping is answered, and neither ping nor pong reaches the owner', (t) => {
  const { socket, heard, line } = serverEnd();
  t.after(() => line.cut('over'));
  line.received(JSON.stringify(EVENT));
  line.received('{"type":"ping"}');
  line.received('{"type":"pong"}');
  assert.deepEqual(heard, [EVENT]);
  assert.deepEqual(socket.sent, [{ type: 'pong' }]);
});

test('what is no message cuts the line, and nothing after it is heard', () => {
  const wrong = [
    'no json',
    '[]',
    '{"type":"reboot"}',
    '{"type":"ack","order":"00","seq":1}',
    JSON.stringify({ ...EVENT, order: '../etc' }),
    JSON.stringify({ ...EVENT, event: { seq: -1, event: 'log', text: '' } }),
    JSON.stringify({ ...EVENT, event: { seq: 1, event: 'log', text: 'x'.repeat(CONTROL_LIMITS.lineBytes + 1) } }),
    JSON.stringify({ type: 'ping', more: 'x'.repeat(CONTROL_LIMITS.messageBytes) }),
  ];
  for (const text of wrong) {
    const { socket, heard, closed, line } = serverEnd();
    line.received(text);
    line.received(JSON.stringify(EVENT));
    assert.equal(socket.ended, 'terminated', text.slice(0, 50));
    assert.match(closed.join(), /^a message that is none/);
    assert.deepEqual(heard, []);
  }
});

test('an order that a server sends is one that the agent takes, and no other is; none of them cuts the line', () => {
  const orders = [
    { kind: 'backup', store: 'tank', group: 'host/web1', archives: ['root.tree:/'] },
    { kind: 'restore', store: 'tank', snapshot: 'host/web1/latest', archive: 'root.tree', target: '/back' },
    { kind: 'backup', store: 'tank', group: 'host/web1', archives: [] },
    { kind: 'backup', store: '../x', group: 'host/web1', archives: ['root.tree:/'] },
    { kind: 'restore', store: 'tank', snapshot: 'host/web1/latest', archive: 'root.tree', target: 'back' },
    { kind: 'restore', store: 'tank', snapshot: 'host/web1/latest', archive: 'root.tree', target: '/b', command: 'rm' },
    { kind: 'run', command: 'reboot' },
  ];
  const taken = orders.map((order) => {
    const heard: ServerMessage[] = [];
    const line = new ControlLine(
      new FakeSocket(),
      ServerMessage,
      { onMessage: (message) => heard.push(message), onClosed: () => {} },
      NEVER,
    );
    line.received(JSON.stringify({ type: 'order', id: 'ab'.repeat(16), order }));
    assert.equal(line.isClosed, false);
    line.cut('over');
    assert.equal(heard.length, 1);
    return heard.filter((message) => message.type === 'order' && isKnown(message.order)).length;
  });
  assert.deepEqual(taken, [1, 1, 0, 0, 0, 0, 0]);
});

function isKnown(order: unknown): boolean {
  try {
    return requireKnown(order) === order;
  } catch (error) {
    assert.equal((error as HoldfastError).code, 'protocol-failed');
    return false;
  }
}

test('a reader that does not read is cut off when a MiB waits, not before', () => {
  const { socket, closed, line } = serverEnd();
  const ack = { type: 'ack', order: 'ab'.repeat(16), seq: 1 } as const;
  socket.bufferedAmount = CONTROL_LIMITS.waitingBytes;
  line.send(ack);
  assert.deepEqual([socket.sent.length, socket.ended], [1, undefined]);
  socket.bufferedAmount = CONTROL_LIMITS.waitingBytes + 1;
  line.send(ack);
  assert.deepEqual([socket.sent.length, socket.ended], [1, 'terminated']);
  assert.match(closed.join(), /does not read/);
});

test('silence is asked about, and after its time the line is dead; an answer keeps it', async () => {
  const beat = { pingMs: 50, deadMs: 1500 };
  const silent = serverEnd(beat);
  const lively = serverEnd(beat);
  lively.socket.onPing = () => lively.line.received('{"type":"pong"}');
  for (let waits = 0; silent.socket.ended === undefined && waits < 100; waits++) await sleep(50);
  assert.equal(silent.socket.ended, 'terminated');
  assert.match(silent.closed.join(), /^nothing was heard for/);
  assert.ok(silent.socket.of('ping').length >= 1);
  assert.equal(lively.socket.ended, undefined);
  lively.line.cut('over');
});

test('whether an end is alive is what it answers within the time', async () => {
  const { socket, line } = serverEnd();
  assert.equal(await line.isAlive(20), false);
  socket.onPing = () => setTimeout(() => line.received('{"type":"pong"}'), 5);
  assert.equal(await line.isAlive(5000), true);
  line.cut('over');
  assert.equal(await line.isAlive(5000), false);
});

test('an end is told once, whoever causes it', () => {
  const { closed, line } = serverEnd();
  line.close('done');
  line.closed('again');
  line.cut('and again');
  assert.deepEqual(closed, ['done']);
});

test('a text is cut to what a message takes, never within a character', () => {
  assert.equal(boundedText('short'), 'short');
  const long = boundedText(`${'x'.repeat(CONTROL_LIMITS.lineBytes - 2)}\u{1f600}\u{1f600}`);
  assert.ok(long.length <= CONTROL_LIMITS.lineBytes);
  assert.match(long, /x…$/);
});
