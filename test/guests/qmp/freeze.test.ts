// Whatever the agent and the work do: the work runs once, and no file system stays frozen that we froze.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FreezeOptions, whileFrozen } from '../../../src/guests/qmp/freeze.ts';
import { FakeAgent } from './fake-agent.ts';
import { listen } from './qemu-monitor.ts';

function freezing(fake: { socketPath: string }, more: Partial<FreezeOptions> = {}) {
  const warnings: string[] = [];
  const options = {
    thawTimeoutMs: 60,
    thawPauseMs: 10,
    warn: (words: string) => warnings.push(words),
    log: () => {},
    ...more,
  };
  const address = { socketPath: fake.socketPath, label: 'VM 101', timeoutMs: 200 };
  return { warnings, run: <Result>(work: () => Promise<Result>) => whileFrozen(address, work, options) };
}

const FREEZE = 'guest-fsfreeze-freeze';
const THAW = 'guest-fsfreeze-thaw';

test('the work runs frozen, and its result comes with how long', async (t) => {
  const fake = await FakeAgent.start(t);
  const { run, warnings } = freezing(fake);
  const done = await run(async () => {
    await sleep(50);
    return fake.frozen;
  });
  assert.deepEqual([done.result, done.mountpoints, done.thawedEarly, done.skipped], [true, 2, false, undefined]);
  assert.ok(done.frozenMs >= 45 && done.frozenMs < 1000);
  assert.deepEqual([fake.frozen, warnings], [false, []]);
  await assert.rejects(
    run(() => Promise.reject(new Error('the work failed'))),
    { message: 'the work failed' },
  );
  assert.equal(fake.frozen, false);
});

test('a guest that somebody else froze is left frozen', async (t) => {
  const fake = await FakeAgent.start(t);
  fake.frozen = true;
  const { run, warnings } = freezing(fake);
  assert.equal((await run(() => Promise.resolve(1))).skipped, 'already-frozen');
  assert.equal(fake.frozen, true);
  assert.match(warnings.join(), /VM 101 are frozen already/);
});

test('a silent agent is a warning, and the work runs', async (t) => {
  const { run, warnings } = freezing({ socketPath: await listen(t, () => {}) });
  const { result, skipped } = await run(() => Promise.resolve(1));
  assert.deepEqual([result, skipped], [1, 'agent-silent']);
  assert.match(warnings.join(), /agent is not running in VM 101/);
});

test('a freeze that fails is thawed all the same', async (t) => {
  const fake = await FakeAgent.start(t);
  fake.instead = (command) => {
    if (command !== FREEZE) return undefined;
    fake.frozen = true;
    return '{"error": {"class": "GenericError", "desc": "failed to freeze /mnt"}}\n';
  };
  const { run, warnings } = freezing(fake);
  const { result, skipped } = await run(() => Promise.resolve(fake.frozen));
  assert.deepEqual([result, skipped, fake.frozen], [false, 'freeze-failed', false]);
  assert.match(warnings.join(), /not frozen: .*failed to freeze \/mnt/);
});

test('a freeze that answers too late is thawed when it is done', async (t) => {
  const fake = await FakeAgent.start(t);
  fake.instead = async (command) => {
    if (command === FREEZE) await sleep(250);
    return undefined;
  };
  const { run } = freezing(fake, { freezeTimeoutMs: 30 });
  const { result, skipped } = await run(() => Promise.resolve(fake.frozen));
  assert.deepEqual([result, skipped, fake.frozen], [false, 'freeze-failed', false]);
  assert.ok(fake.done.indexOf(THAW) > fake.done.indexOf(FREEZE));
});

test('a freeze that is never heard of again is a loud warning, and a thaw waits for the agent', async (t) => {
  const fake = await FakeAgent.start(t);
  let wake!: () => void;
  const awake = new Promise<void>((resolve) => {
    wake = resolve;
  });
  fake.instead = async (command) => {
    if (command === FREEZE) await awake;
    return undefined;
  };
  const { run, warnings } = freezing(fake, { freezeTimeoutMs: 30 });
  const working = run(() => Promise.resolve(1));
  const { result, skipped } = await working;
  assert.deepEqual([result, skipped], [1, 'freeze-failed']);
  assert.match(warnings.join(), /VM 101 MAY STILL BE FROZEN/);
  wake();
  await sleep(100);
  assert.deepEqual([fake.done.includes(THAW), fake.frozen], [true, false]);
});

test('the watchdog thaws while the work hangs, and the work goes on', async (t) => {
  const fake = await FakeAgent.start(t);
  const { run, warnings } = freezing(fake, { watchdogMs: 50 });
  const done = await run(async () => {
    await sleep(300);
    return fake.frozen;
  });
  assert.deepEqual([done.result, done.thawedEarly], [false, true]);
  assert.ok(done.frozenMs < 250);
  assert.match(warnings.join(), /more than 50 ms/);
  assert.equal(fake.done.filter((command) => command === THAW).length, 1);
});

test('a thaw that fails is tried again, and never hides the result', async (t) => {
  const fake = await FakeAgent.start(t);
  let refusals = 2;
  fake.instead = (command) => {
    if (command !== THAW || refusals-- <= 0) return undefined;
    return '{"error": {"class": "GenericError", "desc": "busy"}}\n';
  };
  const { run, warnings } = freezing(fake);
  assert.equal((await run(() => Promise.resolve('r'))).result, 'r');
  assert.deepEqual([fake.frozen, warnings], [false, []]);
  refusals = 1000;
  assert.equal((await run(() => Promise.resolve('r'))).result, 'r');
  assert.match(warnings.join(), /MAY STILL BE FROZEN: .*busy.*guest-fsfreeze-thaw/);
});

test('a connection that is lost while frozen is made anew for the thaw', async (t) => {
  const fake = await FakeAgent.start(t);
  const { run, warnings } = freezing(fake);
  await run(async () => {
    fake.hangUp();
    await sleep(20);
  });
  assert.deepEqual([fake.frozen, warnings], [false, []]);
});

test('an abort ends the waiting for the freeze, thaws, and the work does not run', async (t) => {
  const fake = await FakeAgent.start(t);
  const aborted = new AbortController();
  fake.instead = async (command) => {
    if (command !== FREEZE) return undefined;
    aborted.abort();
    await sleep(20);
    return undefined;
  };
  let ran = false;
  const { run } = freezing(fake, { signal: aborted.signal });
  await assert.rejects(
    run(async () => {
      ran = true;
    }),
    { code: 'aborted' },
  );
  assert.deepEqual([ran, fake.frozen], [false, false]);
});
