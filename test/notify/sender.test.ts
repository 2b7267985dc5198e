// The queue with real mail servers and sockets: nothing is lost over failures and restarts, nothing is sent again that was taken, and a target
// that hangs delays no other.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { temporaryDirectory } from '../auth/access-fixture.ts';
import { event } from './fixture.ts';
import { NotifyRig, until, WHO } from './rig.ts';
import { mailServer, smtpConfig, socketServer } from './targets/mail-server.ts';

test('without a target nothing is kept; with one, everything goes there by the matcher that is there by itself', async (t) => {
  const rig = new NotifyRig(t);
  const { port, mails } = await mailServer(t);
  rig.notifications.start();
  rig.notifications.tell(event());
  assert.equal(rig.queue.list(10).length, 0);
  rig.config.addTarget(WHO, smtpConfig(port), {});
  rig.notifications.tell(event({ subject: 'told' }));
  await until('the mail arrives', () => mails.length === 1);
  assert.match(mails[0]?.text ?? '', /Subject: told/);
  await until('the queue is empty', () => rig.queue.list(10).length === 0);
  assert.equal(rig.state.db.prepare('SELECT count(*) FROM notify_events').pluck().get(), 0);
});

test('a mail server that is down gets everything when it is back, after a restart too, and once', async (t) => {
  const path = join(temporaryDirectory(t), 'state.db');
  const first = new NotifyRig(t, { path });
  const gone = await mailServer(t);
  const { port } = gone;
  await new Promise<void>((resolve) => gone.server.close(() => resolve()));
  first.config.addTarget(WHO, smtpConfig(port), {});
  first.notifications.start();
  for (const subject of ['one', 'two']) first.notifications.tell(event({ subject }));
  await until('it is said', () => first.warnings.length > 0);
  assert.match(first.warnings[0] ?? '', /tried again.*"attempts":1.*cannot be reached/);
  const [, one] = first.queue.list(10);
  assert.deepEqual([one?.state, one?.attempts, (one?.nextMs ?? 0) - first.nowMs], ['waiting', 1, 30_000]);
  assert.match(one?.error ?? '', /ECONNREFUSED/);
  await first.close();

  const { mails } = await mailServer(t, { port });
  const second = new NotifyRig(t, { path });
  second.notifications.start();
  await setTimeout(100);
  assert.ok(!mails.some(({ text }) => text.includes('Subject: one')), 'its time has not come');
  second.nowMs += 30_001;
  await until('both arrive', () => mails.length === 2);
  await until('the queue is empty', () => second.queue.list(10).length === 0);
  await setTimeout(100);
  assert.deepEqual(mails.map(({ text }) => /Subject: (\w+)/.exec(text)?.[1]).sort(), ['one', 'two']);
});

test('a target that hangs delays no other, and a restart does not count against it', async (t) => {
  const rig = new NotifyRig(t);
  const silent = await socketServer(t, () => undefined);
  const { port, mails } = await mailServer(t);
  rig.config.addTarget(WHO, smtpConfig(silent, { name: 'hangs' }), {});
  rig.config.addTarget(WHO, smtpConfig(port, { name: 'works' }), {});
  rig.notifications.start();
  const begin = performance.now();
  for (let n = 0; n < 20; n++) rig.notifications.tell(event({ subject: `n${n}` }));
  await until('all of them arrive', () => mails.length === 20);
  assert.ok(performance.now() - begin < 5000);
  assert.deepEqual(
    mails.map(({ text }) => /Subject: n(\d+)/.exec(text)?.[1]),
    Array.from({ length: 20 }, (_, n) => String(n)),
  );
  assert.equal(rig.queue.list(100).filter(({ target }) => target === 'hangs').length, 20);
  const closing = performance.now();
  await rig.notifications.close();
  assert.ok(performance.now() - closing < 1000, 'it is cut off');
  assert.ok(rig.queue.list(100).every(({ attempts }) => attempts === 0));
});

test('only receivers that refused get it again', async (t) => {
  const rig = new NotifyRig(t);
  const refuse = new Set(['b@example.com']);
  const { port, mails } = await mailServer(t, {
    onRcptTo: ({ address }, _, done) => done(refuse.has(address) ? new Error('mailbox full') : null),
  });
  rig.config.addTarget(WHO, smtpConfig(port, { mailto: ['a@example.com', 'b@example.com'] }), {});
  rig.notifications.start();
  rig.notifications.tell(event());
  await until('one is refused', () => rig.queue.list(1)[0]?.attempts === 1);
  assert.deepEqual(rig.queue.list(1)[0]?.remaining, ['b@example.com']);
  refuse.clear();
  rig.nowMs += 30_001;
  await until('the queue is empty', () => rig.queue.list(1).length === 0);
  assert.deepEqual(
    mails.map(({ to }) => to),
    [['a@example.com'], ['b@example.com']],
  );
  const [first, second] = mails.map(({ text }) => /^Message-ID: (.*)\r$/m.exec(text)?.[1]);
  assert.equal(first, second, 'it is one message');
});

test('waits grow to an hour; after so many attempts, or three days, it is given up and shown', async (t) => {
  const rig = new NotifyRig(t, { rules: { maxAttempts: 10 } });
  rig.config.addTarget(WHO, smtpConfig(1), {});
  rig.notifications.start();
  rig.notifications.tell(event());
  const waits: number[] = [];
  for (let attempt = 1; attempt < 10; attempt++) {
    await until(`attempt ${attempt}`, () => rig.queue.list(1)[0]?.attempts === attempt);
    const wait = (rig.queue.list(1)[0]?.nextMs ?? 0) - rig.nowMs;
    waits.push(wait / 1000);
    rig.nowMs += wait;
  }
  assert.deepEqual(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
  await until('it is given up', () => rig.queue.list(1)[0]?.state === 'failed');
  assert.match(rig.warnings.at(-1) ?? '', /given up/);
  rig.notifications.tell(event({ subject: 'old' }));
  await until('it fails', () => rig.queue.list(1)[0]?.attempts === 1);
  rig.nowMs += 3 * 24 * 3600_000 + 1;
  await until('it is given up', () => rig.queue.list(1)[0]?.state === 'failed');
  rig.nowMs += 31 * 24 * 3600_000;
  await until('they are forgotten', () => rig.queue.list(2).length === 0);
});

test('a clock that was set back a year keeps nothing waiting for a year', async (t) => {
  const rig = new NotifyRig(t);
  rig.config.addTarget(WHO, smtpConfig(1), {});
  rig.notifications.start();
  rig.notifications.tell(event());
  await until('it fails', () => rig.queue.list(1)[0]?.attempts === 1);
  rig.nowMs -= 365 * 24 * 3600_000;
  await until('it is tried again', () => rig.queue.list(1)[0]?.attempts === 2);
});

test('the queue is bounded: what was given up goes first, then the oldest, and it is said', async (t) => {
  const rig = new NotifyRig(t, { most: 5 });
  rig.config.addTarget(WHO, smtpConfig(1), {});
  const subjects = () => rig.queue.list(10).map(({ event: { subject } }) => subject);
  for (let n = 0; n < 4; n++) rig.notifications.tell(event({ subject: `n${n}` }));
  const third = rig.queue.list(10)[1];
  rig.queue.change(third?.id ?? 0, {
    state: 'failed',
    attempts: 100,
    nextMs: rig.nowMs,
    remaining: undefined,
    error: 'x',
  });
  for (let n = 4; n < 7; n++) rig.notifications.tell(event({ subject: `n${n}` }));
  assert.deepEqual(subjects(), ['n6', 'n5', 'n4', 'n3', 'n1']);
  assert.equal(rig.warnings.filter((each) => /queue of notifications is full/.test(each)).length, 2);
  assert.equal(rig.state.db.prepare('SELECT count(*) FROM notify_events').pluck().get(), 5);
});

test('a target that is switched off gets nothing new; what waits goes with a target that is removed', async (t) => {
  const rig = new NotifyRig(t);
  const { port, mails } = await mailServer(t);
  rig.config.addTarget(WHO, smtpConfig(port), {});
  const switchTo = (enabled: boolean) =>
    rig.config.updateTarget(WHO, 'mail', (config, secrets) => ({ config: { ...config, enabled }, secrets }));
  rig.notifications.tell(event({ subject: 'before' }));
  switchTo(false);
  rig.notifications.tell(event({ subject: 'meanwhile' }));
  rig.notifications.start();
  await setTimeout(100);
  assert.deepEqual(mails.length, 0);
  assert.equal(rig.queue.list(10).length, 1);
  await rig.notifications.test('mail');
  assert.match(mails[0]?.text ?? '', /Test notification/, 'it can be tested');
  switchTo(true);
  await until('what waited arrives', () => mails.length === 2);
  switchTo(false);
  rig.queue.add(event(), 'x', ['mail'], rig.nowMs);
  rig.config.removeTarget(WHO, 'mail');
  assert.equal(rig.queue.list(10).length, 0);
});

test('what an event says makes no header and no receiver of a mail', async (t) => {
  const rig = new NotifyRig(t);
  const { port, mails } = await mailServer(t);
  rig.config.addTarget(WHO, smtpConfig(port), {});
  rig.notifications.start();
  const evil = 'x\r\nBcc: evil@example.com\r\n\r\nbody\u2028Bcc: other@example.com';
  const told = event({ subject: evil, node: evil, text: evil, fields: { datastore: evil } });
  rig.notifications.tell(told);
  // Past the bounds of an event, too.
  rig.queue.add(told, 'evil\r\nBcc: evil@example.com', ['mail'], rig.nowMs);
  await until('both arrive', () => mails.length === 2);
  for (const { to, text } of mails) {
    assert.deepEqual(to, ['admin@example.com']);
    const head = text.slice(0, text.indexOf('\r\n\r\n'));
    assert.doesNotMatch(head, /^Bcc:/im);
    assert.match(head, /^To: admin@example\.com\r$/m);
    assert.match(head, /^Content-Type: multipart/m);
  }
});

test('neither log nor queue nor audit log hold a secret, whatever a target answers', async (t) => {
  const rig = new NotifyRig(t);
  const { port } = await mailServer(t, {
    onRcptTo: ({ address }, _, done) =>
      done(address.startsWith('b') ? new Error('no, not even with secret pass') : null),
  });
  const receivers = { username: 'anna', mailto: ['a@example.com', 'b@example.com'] };
  rig.config.addTarget(WHO, smtpConfig(port, receivers), { password: 'secret pass' });
  rig.config.addTarget(WHO, smtpConfig(port, { name: 'wrong', username: 'anna' }), { password: 'wr0ng pass' });
  rig.notifications.start();
  rig.notifications.tell(event());
  await until('both fail', () => rig.queue.list(9).filter(({ attempts }) => attempts === 1).length === 2);
  const shown = JSON.stringify([rig.warnings, rig.queue.list(9), rig.audit, rig.config.targets()]);
  assert.match(shown, /not even with \[hidden\]/);
  assert.doesNotMatch(shown, /secret pass|wr0ng/);
});
