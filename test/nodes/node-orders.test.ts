// Orders as tasks, over agents in memory: what reaches the task, and what becomes of it when a line or an agent is gone.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AgentLine, NodeOrders } from '../../src/nodes/node-orders.ts';
import type { Hello, ServerMessage } from '../../src/transport/control/messages.ts';
import type { BackupOrder, VmBackupOrder } from '../../src/transport/control/orders.ts';
import { HoldfastError } from '../../src/util/errors.ts';
import { FakeTasks } from '../api/fake-tasks.ts';
import { withCode } from '../auth/access-fixture.ts';

const ORDER: BackupOrder = { kind: 'backup', store: 'tank', group: 'host/web1', archives: ['root.tree:/'] };

class FakeLine implements AgentLine {
  readonly node = 'web1';
  readonly instance: string;
  readonly sent: ServerMessage[] = [];

  constructor(instance = '11'.repeat(16)) {
    this.instance = instance;
  }

  send(message: ServerMessage): void {
    this.sent.push(message);
  }

  /** Ids of the orders that it was given. */
  get given(): string[] {
    return this.sent.flatMap((message) => (message.type === 'order' ? [message.id] : []));
  }
}

function hello(line: FakeLine, orders: readonly string[] = []): Hello {
  const machine = { version: '0.1', 'host-name': '', 'machine-id': '', 'boot-id': '' };
  return { type: 'hello', protocol: 1, instance: line.instance, orders: [...orders], ...machine };
}

const VM_ORDER: VmBackupOrder = { kind: 'vm-backup', store: 'tank', vmid: 101 };

function rig(t: TestContext, graceMs = 60_000) {
  const tasks = new FakeTasks();
  const reports: { message: string; detail: Readonly<Record<string, unknown>> }[] = [];
  const orders = new NodeOrders({
    tasks,
    graceMs,
    report: (message, detail) => void reports.push({ message, detail }),
  });
  const line = new FakeLine();
  orders.connected(line, hello(line));
  t.after(() => orders.forget('web1'));
  /** Starts one, and gives what is known of it. */
  const begin = async () => {
    const { upid } = orders.start('web1', ORDER, 'anna@pbs');
    const entry = tasks.entries.get(upid) ?? assert.fail();
    await sleep(1);
    return { upid, entry, id: line.given.at(-1) as string };
  };
  const log = (id: string, seq: number, text: string, from = line): void =>
    orders.event(from, id, { seq, event: 'log', text });
  return { tasks, orders, line, reports, begin, log };
}

test('an order is a task: its lines, warnings and result are those of the agent, each event acknowledged', async (t) => {
  const { orders, line, begin, log } = rig(t);
  const { entry, id } = await begin();
  assert.deepEqual([entry.row.type, entry.row.id, entry.row.user], ['agentbackup', 'tank:web1:host/web1', 'anna@pbs']);
  assert.deepEqual(line.sent, [{ type: 'order', id, order: ORDER }]);
  log(id, 1, 'it begins');
  orders.event(line, id, { seq: 2, event: 'warn', text: 'a file changed' });
  orders.event(line, id, { seq: 3, event: 'end', result: { snapshot: 'host/web1/x' } });
  await entry.done;
  assert.equal(entry.row.status, 'WARNINGS: 1');
  assert.deepEqual(entry.row.data, { result: { snapshot: 'host/web1/x' }, warnings: ['a file changed'] });
  assert.deepEqual(entry.lines.slice(1, 3), ['it begins', 'WARN: a file changed']);
  assert.deepEqual(
    line.sent.flatMap((message) => (message.type === 'ack' ? [message.seq] : [])),
    [1, 2, 3],
  );
  assert.equal(orders.countOf('web1'), 0);
});

test('what failed at the agent fails the task with its code, also one that is not known here', async (t) => {
  const { orders, line, begin } = rig(t);
  const first = await begin();
  const failure = { code: 'not-allowed', message: '/etc may not be read' };
  orders.event(line, first.id, { seq: 1, event: 'end', failure });
  await first.entry.done;
  assert.ok(first.entry.error instanceof HoldfastError && first.entry.error.code === 'not-allowed');
  assert.equal(first.entry.row.status, '/etc may not be read');
  const second = await begin();
  orders.event(line, second.id, { seq: 1, event: 'end', failure: { code: 'of-the-future', message: 'no' } });
  await second.entry.done;
  assert.equal(second.entry.row.status, 'no (of-the-future)');
});

test('a line that breaks changes nothing: what was told twice counts once, and the order goes on', async (t) => {
  const { orders, line, begin, log } = rig(t);
  const { entry, id } = await begin();
  log(id, 1, 'one');
  orders.disconnected(line);
  const again = new FakeLine();
  orders.connected(again, hello(again, [id]));
  assert.deepEqual(again.given, []);
  log(id, 1, 'one', again);
  log(id, 2, 'two', again);
  orders.event(again, id, { seq: 3, event: 'end' });
  await entry.done;
  assert.equal(entry.row.status, 'OK');
  const lines = entry.lines.join('\n');
  assert.match(lines, /one\nthe agent of web1 is away.*\nthe agent of web1 is there again\ntwo/);
});

test('an order that was under way when the line broke is given again; one that the agent has forgotten is not', async (t) => {
  const { orders, line, begin, log } = rig(t);
  const lost = await begin();
  const known = await begin();
  log(known.id, 1, 'taken');
  orders.disconnected(line);
  const again = new FakeLine();
  orders.connected(again, hello(again));
  assert.deepEqual(again.given, [lost.id]);
  await known.entry.done;
  assert.match(known.entry.row.status ?? '', /does not know the order any more/);
  orders.event(again, lost.id, { seq: 1, event: 'end' });
  await lost.entry.done;
});

test('an order that was given again has its agent: the grace time of the line before is over, and an abort reaches it', async (t) => {
  const { tasks, orders, line, begin } = rig(t, 150);
  const kept = await begin();
  const { upid, entry, id } = await begin();
  tasks.abort(upid, 'aborted by anna@pbs');
  orders.disconnected(line);
  const again = new FakeLine();
  orders.connected(again, hello(again));
  assert.deepEqual(again.sent, [
    { type: 'order', id: kept.id, order: ORDER },
    { type: 'order', id, order: ORDER },
    { type: 'abort', order: id, reason: 'aborted by anna@pbs' },
  ]);
  await sleep(300);
  assert.deepEqual([kept.entry.row.status, entry.row.status], [null, null]);
  orders.event(again, id, { seq: 1, event: 'end', failure: { code: 'aborted', message: 'aborted by anna@pbs' } });
  await entry.done;
  assert.ok(entry.error instanceof HoldfastError && entry.error.code === 'aborted');
});

test('an agent that was started anew has none of the orders of before', async (t) => {
  const { orders, line, begin, log } = rig(t);
  const { entry, id } = await begin();
  log(id, 1, 'taken');
  orders.disconnected(line);
  const again = new FakeLine('22'.repeat(16));
  orders.connected(again, hello(again));
  await entry.done;
  assert.match(entry.row.status ?? '', /was started anew/);
  assert.deepEqual(again.given, []);
});

test('an agent that stays away fails its orders after the grace time, not before', async (t) => {
  const { orders, line, begin } = rig(t, 600);
  const { entry } = await begin();
  orders.disconnected(line);
  await sleep(10);
  assert.equal(entry.row.status, null);
  await entry.done;
  assert.ok(entry.error instanceof HoldfastError && entry.error.code === 'node-offline');
});

test('an abort goes to the agent, whose end ends the task; one that is away is told when it is back', async (t) => {
  const { tasks, orders, line, begin, log } = rig(t);
  const first = await begin();
  log(first.id, 1, 'taken');
  tasks.abort(first.upid, 'aborted by anna@pbs');
  assert.deepEqual(line.sent.at(-1), { type: 'abort', order: first.id, reason: 'aborted by anna@pbs' });
  assert.equal(first.entry.row.status, null);
  orders.event(line, first.id, { seq: 2, event: 'end', failure: { code: 'aborted', message: 'aborted by anna@pbs' } });
  await first.entry.done;
  const second = await begin();
  log(second.id, 1, 'taken');
  orders.disconnected(line);
  tasks.abort(second.upid, 'aborted by anna@pbs');
  await second.entry.done;
  const again = new FakeLine();
  orders.connected(again, hello(again, [second.id]));
  assert.deepEqual(again.sent, [{ type: 'abort', order: second.id, reason: 'its task was aborted' }]);
});

test('the end of an order that no task waits for is noted and acknowledged, and touches no other', async (t) => {
  const { orders, line, reports, begin } = rig(t);
  const { entry } = await begin();
  const old = 'ef'.repeat(16);
  const again = new FakeLine();
  orders.disconnected(line);
  orders.connected(again, hello(again, [old]));
  orders.event(again, old, { seq: 7, event: 'end' });
  assert.deepEqual(
    reports.map(({ message }) => message),
    ['an order goes on that no task waits for', 'an order ended that no task waits for'],
  );
  assert.deepEqual(again.sent.at(-1), { type: 'ack', order: old, seq: 7 });
  assert.equal(entry.row.status, null);
});

test('what one node tells of the order of another is not heard', async (t) => {
  const { orders, begin } = rig(t);
  const { entry, id } = await begin();
  const other: AgentLine = { node: 'web2', instance: '33'.repeat(16), send: () => {} };
  orders.event(other, id, { seq: 1, event: 'end' });
  orders.progress(other, id, 'x', 1, 1);
  await sleep(1);
  assert.equal(entry.row.status, null);
});

test('a server that ends tells no agent to stop', async (t) => {
  const { tasks, orders, line, begin, log } = rig(t);
  const { upid, entry, id } = await begin();
  log(id, 1, 'taken');
  orders.stop();
  tasks.abort(upid, 'the server is stopping');
  await entry.done;
  assert.equal(line.sent.filter(({ type }) => type === 'abort').length, 0);
});

test('no more orders than a node takes, none that fits no message, and none without an agent', async (t) => {
  const { orders, begin } = rig(t);
  for (let count = 0; count < 20; count++) await begin();
  assert.throws(() => orders.start('web1', ORDER, 'anna@pbs'), withCode('too-many'));
  orders.forget('web1');
  await sleep(1);
  const archives = Array.from({ length: 64 }, (_, place) => `a${place}.img:/${'x'.repeat(4000)}`);
  assert.throws(() => orders.start('web1', { ...ORDER, archives }, 'anna@pbs'), withCode('too-large'));
  assert.throws(() => orders.start('web2', ORDER, 'anna@pbs'), withCode('node-offline'));
});

test('an agent is given orders of the kinds that it takes: one that names none is older than those of virtual machines', async (t) => {
  const { orders, line, begin, tasks } = rig(t);
  const refused = {
    code: 'protocol-failed',
    message: /agent of node web1 \(Holdfast 0\.1\) does not take orders of the kind vm-backup/,
  };
  assert.throws(() => orders.start('web1', VM_ORDER, 'anna@pbs'), refused);
  const task = { signal: new AbortController().signal, log: () => {}, warn: () => {}, progress: () => {} };
  await assert.rejects(orders.within('web1', VM_ORDER, task as never), refused);
  assert.deepEqual([line.sent, tasks.entries.size], [[], 0]);
  const { id } = await begin();
  assert.deepEqual(line.given, [id]);
  orders.connected(line, { ...hello(line, [id]), kinds: ['vm-backup', 'of-a-later-version'] });
  orders.start('web1', VM_ORDER, 'anna@pbs');
  await sleep(1);
  assert.equal(line.given.length, 2);
  assert.throws(() => orders.start('web1', ORDER, 'anna@pbs'), { code: 'protocol-failed' });
});
