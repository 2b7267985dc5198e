// The channel to a guest's agent: out of step, silent, hostile or gone, each call gets its own answer or an error.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GuestAgent } from '../../../src/guests/qmp/guest-agent.ts';
import { FakeAgent } from './fake-agent.ts';
import { listen, scratch } from './qemu-monitor.ts';

const connect = (fake: FakeAgent, timeoutMs = 1000) =>
  GuestAgent.connect(fake.socketPath, { timeoutMs, label: 'VM 101' });

test('answers come whole however they are split, one after the other', async (t) => {
  const fake = await FakeAgent.start(t);
  fake.pieceBytes = 1;
  const agent = await connect(fake);
  t.after(() => agent.close());
  const asked = [agent.freezeStatus(), agent.freeze(), agent.freezeStatus(), agent.thaw(), agent.freezeStatus()];
  assert.deepEqual(await Promise.all(asked), ['thawed', 2, 'frozen', 2, 'thawed']);
  await agent.ping();
  await assert.rejects(agent.execute('guest-no-such'), {
    code: 'guest-failed',
    message: 'VM 101: the agent refused guest-no-such: The command guest-no-such has not been found',
    data: {
      command: 'guest-no-such',
      qmpClass: 'CommandNotFound',
      desc: 'The command guest-no-such has not been found',
    },
  });
  await agent.ping();
});

test('what was left in the channel is nobody’s answer', async (t) => {
  for (const stale of [
    '{"return": 7}\n',
    '{"return": "frozen"}\n{"ret',
    'login: \n',
    '{"error": {"desc": "stale"}}\n\xff\xff',
    'null\n',
  ]) {
    const fake = await FakeAgent.start(t);
    fake.stale = stale;
    const agent = await connect(fake);
    assert.equal(await agent.freezeStatus(), 'thawed');
    agent.close();
  }
});

test('an agent that does not answer is silent, and nothing listening is a guest that does not run', async (t) => {
  const silent = await listen(t, () => {});
  await assert.rejects(GuestAgent.connect(silent, { timeoutMs: 50, label: 'VM 101' }), {
    code: 'guest-agent-silent',
    message: 'the QEMU guest agent is not running in VM 101: no answer within 50 ms',
  });
  const aborted = new AbortController();
  const given = GuestAgent.connect(silent, { signal: aborted.signal });
  setTimeout(() => aborted.abort(), 20);
  await assert.rejects(given, { code: 'aborted' });
  await assert.rejects(GuestAgent.connect(`${scratch(t)}/absent`), { code: 'guest-stopped' });
});

test('an answer that comes after its timeout is not taken for the next', async (t) => {
  const fake = await FakeAgent.start(t);
  const agent = await connect(fake);
  t.after(() => agent.close());
  fake.instead = async (command) => {
    if (command !== 'guest-slow') return undefined;
    await sleep(150);
    return '{"return": "frozen"}\n';
  };
  await assert.rejects(agent.execute('guest-slow', {}, { timeoutMs: 30 }), { code: 'timed-out' });
  assert.equal(await agent.freezeStatus(), 'thawed');
  const aborted = new AbortController();
  const given = agent.execute('guest-slow', {}, { signal: aborted.signal });
  setTimeout(() => aborted.abort(), 20);
  await assert.rejects(given, { code: 'aborted' });
  assert.equal(await agent.freezeStatus(), 'thawed');
});

test('garbage for an answer fails the call, and the next one works', async (t) => {
  const fake = await FakeAgent.start(t);
  const agent = await connect(fake);
  t.after(() => agent.close());
  for (const [garbage, message] of [
    ['kernel panic\n', /not JSON: "kernel panic"/],
    ['{}\n', /answered guest-odd with \{\}/],
    ['null\n', /with null/],
    ['3\n', /with 3/],
  ] as const) {
    fake.instead = (command) => (command === 'guest-odd' ? garbage : undefined);
    await assert.rejects(agent.execute('guest-odd'), { code: 'guest-failed', message });
    assert.equal(await agent.freezeStatus(), 'thawed');
  }
  fake.instead = (command) => (command === 'guest-fsfreeze-status' ? '{"return": "odd"}\n' : undefined);
  await assert.rejects(agent.freezeStatus(), { code: 'guest-failed', message: /with "odd"/ });
});

test('a line without end fills no memory', async (t) => {
  const socketPath = await listen(t, (socket) => {
    const more = () => {
      while (!socket.destroyed && socket.write(Buffer.alloc(1 << 20, 0x61)));
    };
    socket.on('drain', more);
    more();
  });
  await assert.rejects(GuestAgent.connect(socketPath, { timeoutMs: 10_000 }), {
    code: 'guest-failed',
    message: /cannot be read/,
  });
});

test('a connection that ends fails what is under way and what follows', async (t) => {
  const fake = await FakeAgent.start(t);
  const agent = await connect(fake);
  fake.instead = () => new Promise(() => {});
  const waiting = agent.execute('guest-ping');
  await sleep(20);
  fake.hangUp();
  await assert.rejects(waiting, { code: 'guest-failed', message: /QEMU ended/ });
  await assert.rejects(agent.ping(), { code: 'guest-failed', message: /QEMU ended/ });
  assert.ok(agent.isLost);
});

test('a shutdown is accepted in silence, and refused in words', async (t) => {
  const fake = await FakeAgent.start(t);
  const agent = await connect(fake);
  t.after(() => agent.close());
  await agent.shutdown('powerdown');
  assert.deepEqual(fake.done, ['guest-shutdown']);
  await agent.ping();
  fake.instead = (command) =>
    command === 'guest-shutdown' ? '{"error": {"class": "GenericError", "desc": "no"}}\n' : undefined;
  await assert.rejects(agent.shutdown('halt'), { code: 'guest-failed', message: /refused guest-shutdown: no/ });
  assert.equal(await agent.freezeStatus(), 'thawed');
  fake.instead = () => '';
  await agent.shutdown('reboot', { timeoutMs: 50 });
  fake.instead = (command) => {
    if (command === 'guest-shutdown') fake.hangUp();
    return undefined;
  };
  await agent.shutdown('powerdown', { timeoutMs: 1000 });
});
