// Orders at an agent: how many run, what is kept of them for a server that is away, and that nothing is told twice or lost in silence.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { OrderDesk, type OrderReport } from '../../../src/agent/service/order-desk.ts';
import { CONTROL_LIMITS } from '../../../src/transport/control/limits.ts';
import type { AgentMessage, OrderEvent } from '../../../src/transport/control/messages.ts';
import type { BackupOrder } from '../../../src/transport/control/orders.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

const ORDER: BackupOrder = { kind: 'backup', store: 'tank', group: 'host/web1', archives: ['root.tree:/'] };

/** An order that runs until a test lets it end. */
interface Running {
  readonly report: OrderReport;
  end(result: unknown): void;
  fail(error: unknown): void;
}

function rig() {
  const running: Running[] = [];
  const desk = new OrderDesk((_, report) => new Promise((end, fail) => void running.push({ report, end, fail })));
  return { desk, running };
}

/** A server that acknowledges what it gets, or not. */
function server(desk: OrderDesk, acknowledges = true) {
  const events: { order: string; event: OrderEvent }[] = [];
  const others: AgentMessage[] = [];
  desk.attach((message) => {
    if (message.type !== 'event') {
      others.push(message);
      return;
    }
    events.push(message);
    if (acknowledges) setImmediate(() => desk.acknowledged(message.order, message.event.seq));
  });
  return { events, others };
}

const id = (number: number): string => number.toString(16).padStart(32, '0');
const texts = (events: readonly { event: OrderEvent }[]): string[] =>
  events.map(({ event }) => (event.event === 'end' ? `end ${event.failure?.code ?? 'ok'}` : event.text));

test('an order is told from its beginning to its end, and is then forgotten', async () => {
  const { desk, running } = rig();
  const { events, others } = server(desk);
  desk.take(id(1), ORDER);
  running[0]?.report.log('two\nlines');
  running[0]?.report.warn('a warning');
  running[0]?.report.progress('root.tree', 1, 2);
  running[0]?.report.progress('root.tree', 2, 2);
  assert.deepEqual(desk.ids, [id(1)]);
  running[0]?.end({ bytes: 7 });
  await sleep(20);
  assert.deepEqual(texts(events), ['the backup begins', 'two', 'lines', 'a warning', 'end ok']);
  assert.deepEqual(
    events.map(({ event }) => event.seq),
    [1, 2, 3, 4, 5],
  );
  assert.deepEqual(events.at(-1)?.event, { seq: 5, event: 'end', result: { bytes: 7 } });
  // The second came within half a second.
  assert.deepEqual(others, [{ type: 'progress', order: id(1), what: 'root.tree', 'bytes-done': 1, 'bytes-total': 2 }]);
  assert.deepEqual(desk.ids, []);
});

test('an order that is given twice runs once', async () => {
  const { desk, running } = rig();
  desk.take(id(1), ORDER);
  desk.take(id(1), ORDER);
  assert.equal(running.length, 1);
  running[0]?.end(null);
});

test('four run, sixteen wait, one more is refused; whatever ends makes room', async () => {
  const { desk, running } = rig();
  const { events } = server(desk);
  for (let number = 1; number <= 21; number++) desk.take(id(number), ORDER);
  assert.equal(running.length, 4);
  await sleep(20);
  assert.deepEqual(texts(events.filter(({ order }) => order === id(21))), ['end too-many']);
  desk.abort(id(5), 'not needed');
  running[0]?.fail(new HoldfastError('source-failed', 'no such disk'));
  await sleep(20);
  assert.equal(running.length, 5);
  assert.deepEqual(texts(events.filter(({ order }) => order === id(1))).at(-1), 'end source-failed');
  assert.deepEqual(texts(events.filter(({ order }) => order === id(5))).at(-1), 'end aborted');
  assert.deepEqual(texts(events.filter(({ order }) => order === id(6))).at(-1), 'the backup begins');
});

test('what happens while the server is away is told when it is back, in order, and what it has is not told again', async () => {
  const { desk, running } = rig();
  const first = server(desk, false);
  desk.take(id(1), ORDER);
  running[0]?.report.log('one');
  desk.acknowledged(id(1), 1);
  desk.detach();
  running[0]?.report.log('two');
  running[0]?.end(null);
  await sleep(10);
  assert.deepEqual(texts(first.events), ['the backup begins', 'one']);
  assert.deepEqual(desk.ids, [id(1)]);
  const second = server(desk);
  await sleep(20);
  assert.deepEqual(texts(second.events), ['one', 'two', 'end ok']);
  assert.deepEqual(desk.ids, []);
});

test('of a log that nobody takes the oldest lines go, and how many is said; the end stays', async () => {
  const { desk, running } = rig();
  desk.take(id(1), ORDER);
  for (let line = 0; line < 5000; line++) running[0]?.report.log(`line ${line}`);
  running[0]?.end(null);
  await sleep(10);
  const { events } = server(desk);
  for (let waits = 0; desk.ids.length > 0 && waits < 100; waits++) await sleep(20);
  const told = texts(events);
  assert.ok(told.length <= 2000);
  // With the line that says that it begins.
  const kept = told.filter((text) => /^line \d+$/.test(text)).length;
  assert.equal(told[0], `${5001 - kept} lines are missing here: the server could not be reached for too long`);
  assert.deepEqual(told.slice(-2), ['line 4999', 'end ok']);
  const numbers = events.map(({ event }) => event.seq);
  assert.deepEqual(
    numbers,
    [...numbers].sort((a, b) => a - b),
  );
});

test('few events are under way at a time, however many there are', async () => {
  const { desk, running } = rig();
  const { events } = server(desk, false);
  desk.take(id(1), ORDER);
  for (let line = 0; line < 100; line++) running[0]?.report.log(`line ${line}`);
  assert.equal(events.length, 8);
  desk.acknowledged(id(1), 3);
  assert.equal(events.length, 11);
  running[0]?.end(null);
});

test('a server that takes nothing gets no more than is under way, also when lines go; each gap says its own number', async () => {
  const { desk, running } = rig();
  const { events } = server(desk, false);
  desk.take(id(1), ORDER);
  const flood = (): void => {
    for (let line = 0; line < 5000; line++) running[0]?.report.log(`line ${line}`);
  };
  /** Acknowledges until nothing more comes, and gives what came. */
  const rest = (): string[] => {
    const from = events.length;
    for (let told = 0; told !== events.length; ) {
      told = events.length;
      desk.acknowledged(id(1), events.at(-1)?.event.seq ?? 0);
    }
    return texts(events.slice(from));
  };
  flood();
  assert.deepEqual(texts(events), ['the backup begins', ...Array.from({ length: 7 }, (_, line) => `line ${line}`)]);
  const first = rest();
  const gone = 5000 - 7 - (first.length - 1);
  assert.equal(first[0], `${gone} lines are missing here: the server could not be reached for too long`);
  assert.deepEqual([first[1], first.at(-1)], [`line ${gone + 7}`, 'line 4999']);
  flood();
  const second = rest();
  assert.match(second[0] ?? '', /^\d+ lines are missing/);
  assert.equal(Number.parseInt(second[0] ?? '', 10), 5000 - 8 - (second.length - 1));
  running[0]?.end(null);
});

test('a result that is too long for a message is left out, and a bug is told as one', async () => {
  const { desk, running } = rig();
  const { events } = server(desk);
  desk.take(id(1), ORDER);
  desk.take(id(2), ORDER);
  running[0]?.end({ text: 'x'.repeat(CONTROL_LIMITS.resultBytes) });
  running[1]?.fail(new TypeError('x is undefined'));
  await sleep(20);
  const ends = events.flatMap(({ event }) => (event.event === 'end' ? [event] : []));
  assert.deepEqual(ends[0]?.result, { tooLarge: true });
  assert.deepEqual(ends[1]?.failure, { code: 'internal', message: 'this is a bug in Holdfast: x is undefined' });
});

test('an agent that ends stops its orders, and waits until the server knows', async () => {
  const { desk, running } = rig();
  const { events } = server(desk);
  desk.take(id(1), ORDER);
  const { report, fail } = running[0] as Running;
  report.signal.addEventListener('abort', () => fail(report.signal.reason));
  await desk.end('the agent was stopped', 5000);
  assert.equal(texts(events).at(-1), 'end aborted');
  assert.deepEqual(desk.ids, []);
});

test('an order that this version does not know is refused in words, and nothing runs', async () => {
  const { desk, running } = rig();
  const { events } = server(desk);
  desk.take(id(1), { kind: 'ct-backup', store: 'tank' });
  desk.take(id(2), { ...ORDER, 'of-a-later-version': true });
  desk.take(id(3), 'no order');
  const failures = events.map(({ event }) => (event.event === 'end' ? event.failure : undefined));
  assert.deepEqual(
    failures.map((failure) => failure?.code),
    ['protocol-failed', 'protocol-failed', 'protocol-failed'],
  );
  assert.match(
    failures[0]?.message ?? '',
    /does not know orders of the kind "ct-backup", only backup, restore, vm-backup, vm-restore; install/,
  );
  assert.match(failures[1]?.message ?? '', /does not know a member of this backup/);
  await sleep(20);
  assert.deepEqual([running.length, desk.ids], [0, []]);
});
