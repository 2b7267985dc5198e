// Mail to real servers: what arrives, and every way in which a mail server can fail.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { ensureSelfSigned } from '../../../src/daemon/certificate.ts';
import { smtpTarget } from '../../../src/notify/targets/smtp.ts';
import { temporaryDirectory } from '../../auth/access-fixture.ts';
import { event } from '../fixture.ts';
import { mailServer, smtpConfig, socketServer } from './mail-server.ts';

const LIMITS = { connectMs: 400, idleMs: 400, totalMs: 900 };
const message = { id: 'event-7', event: event() };
const never = new AbortController().signal;

async function certificate(t: Parameters<typeof temporaryDirectory>[0], name: string) {
  const directory = temporaryDirectory(t);
  const paths = { certificate: join(directory, 'crt'), key: join(directory, 'key') };
  return await ensureSelfSigned(paths, [name], Date.now());
}

test('a mail arrives with text, HTML, table and headers, all escaped', async (t) => {
  const { port, mails } = await mailServer(t);
  const table = { columns: ['what', 'size'], rows: [['<script>x</script>', '12 GiB']], right: ['size'] };
  const told = event({ subject: 'Größe & <b>', text: 'a < b', table });
  const result = await smtpTarget(smtpConfig(port), undefined).send({ id: 'event-7', event: told }, never);
  assert.deepEqual(result, { refused: [] });
  const [mail] = mails;
  assert.deepEqual({ from: mail?.from, to: mail?.to }, { from: 'backup@example.com', to: ['admin@example.com'] });
  const text = (mail?.text ?? '').replaceAll(/([^?])=\r\n/g, '$1').replaceAll('=3D', '=');
  assert.match(text, /^Subject: =\?UTF-8\?.*$/m);
  assert.match(text, /^Message-ID: <event-7@example.com>\r$/m);
  assert.match(text, /^Date: Sun, 22 Nov 2026 01:30:00 \+0000\r$/m);
  assert.match(text, /^X-Holdfast-Severity: error\r$/m);
  assert.match(text, /^Auto-Submitted: auto-generated\r$/m);
  assert.match(text, /what +size/);
  assert.match(text, /a &lt; b/);
  assert.match(text, /&lt;script&gt;x&lt;\/script&gt;/);
  assert.doesNotMatch(text.slice(text.indexOf('text/html')), /<script>/);
});

test('a user signs in; a wrong password is told without it', async (t) => {
  const { port, mails, logins } = await mailServer(t);
  const config = smtpConfig(port, { username: 'anna' });
  await smtpTarget(config, 'secret pass').send(message, never);
  assert.equal(mails.length, 1);
  assert.deepEqual(logins, ['anna']);
  await assert.rejects(smtpTarget(config, 'wr0ng&pass').send(message, never), (error: Error & { code: string }) => {
    assert.equal(error.code, 'not-authenticated');
    assert.match(error.message, /\[hidden\]/, 'the server repeated it');
    assert.doesNotMatch(`${error.message}${error.stack}${JSON.stringify(error)}`, /wr0ng/);
    return true;
  });
});

test('a server that repeats how somebody signed in shows no password', async (t) => {
  const password = 'wr0ng&"pass';
  const config = smtpConfig(0, { username: 'anna' });
  const plain = Buffer.from(`\0anna\0${password}`).toString('base64');
  for (const said of [plain, password, Buffer.from(password).toString('base64'), JSON.stringify(password)]) {
    const port = await socketServer(t, (socket) => {
      socket.write('220 hello\r\n');
      socket.on('data', (data) => {
        socket.write(/^EHLO/.test(String(data)) ? '250-x\r\n250 AUTH PLAIN\r\n' : `535 not with ${said}\r\n`);
      });
    });
    await assert.rejects(smtpTarget({ ...config, port }, password).send(message, never), (error: Error) => {
      assert.match(error.message, /not with "?\[hidden\]"?/);
      assert.doesNotMatch(`${error.stack}${JSON.stringify(error)}`, /wr0ng/);
      return true;
    });
  }
});

test('who is refused is named, and only whoever is left is written to again', async (t) => {
  const refuse = new Set(['b@example.com']);
  const { port, mails } = await mailServer(t, {
    onRcptTo: ({ address }, _, done) => done(refuse.has(address) ? new Error('mailbox full') : null),
  });
  const target = smtpTarget(
    smtpConfig(port, { mailto: ['a@example.com', 'b@example.com', 'c@example.com'] }),
    undefined,
  );
  const { refused } = await target.send(message, never);
  assert.deepEqual(
    refused.map(({ receiver }) => receiver),
    ['b@example.com'],
  );
  assert.match(refused[0]?.reason ?? '', /mailbox full/);
  assert.deepEqual(mails[0]?.to, ['a@example.com', 'c@example.com']);
  refuse.clear();
  await target.send({ ...message, remaining: ['b@example.com', 'gone@example.com'] }, never);
  assert.deepEqual(mails[1]?.to, ['b@example.com'], 'and nobody who is not in the list any more');
  assert.deepEqual(await target.send({ ...message, remaining: ['gone@example.com'] }, never), { refused: [] });
  assert.equal(mails.length, 2);
  refuse.add('a@example.com').add('b@example.com').add('c@example.com');
  await assert.rejects(target.send(message, never), { code: 'target-failed', message: /mailbox full/ });
});

test('TLS from the first byte and by STARTTLS, and no mail without it', async (t) => {
  const { cert, key } = await certificate(t, '127.0.0.1');
  const tls = await mailServer(t, { secure: true, key, cert });
  const starttls = await mailServer(t, { key, cert });
  const plain = await mailServer(t);
  const ca = { ca: cert };
  await smtpTarget(smtpConfig(tls.port, { mode: 'tls' }), undefined, ca).send(message, never);
  await smtpTarget(smtpConfig(starttls.port, { mode: 'starttls' }), undefined, ca).send(message, never);
  assert.equal(tls.mails.length + starttls.mails.length, 2);
  for (const [port, mode] of [
    [plain.port, 'starttls'],
    [tls.port, 'tls'],
    [starttls.port, 'starttls'],
  ] as const) {
    const target = smtpTarget(smtpConfig(port, { mode, username: 'anna' }), 'secret pass', { limits: LIMITS });
    await assert.rejects(target.send(message, never), { code: 'server-untrusted' }, `${mode} on ${port}`);
  }
  await assert.rejects(
    smtpTarget(smtpConfig(plain.port, { mode: 'tls' }), undefined, { limits: LIMITS }).send(message, never),
  );
  assert.equal(plain.mails.length, 0);
  assert.equal(tls.mails.length + starttls.mails.length, 2, 'a certificate that nobody vouches for gets nothing');
  assert.deepEqual([...plain.logins, ...tls.logins, ...starttls.logins], [], 'and no password either');
});

test('a certificate of another name is refused', async (t) => {
  const { cert, key } = await certificate(t, 'other.example.com');
  const { port, mails } = await mailServer(t, { secure: true, key, cert, host: '127.0.0.2' });
  const config = smtpConfig(port, { mode: 'tls', server: '127.0.0.2' });
  const target = smtpTarget(config, undefined, { ca: cert, limits: LIMITS });
  await assert.rejects(target.send(message, never), { code: 'server-untrusted' });
  assert.equal(mails.length, 0);
});

test('a server that is down, silent, drips, hangs up or talks nonsense ends in time', async (t) => {
  const closed = await socketServer(t, (socket) => socket.destroy());
  const silent = await socketServer(t, () => undefined);
  const dripping = await socketServer(t, (socket) => {
    const drip = setInterval(() => socket.write('2'), 50);
    socket.on('close', () => clearInterval(drip));
  });
  const nonsense = await socketServer(t, (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
  const endless = await socketServer(t, (socket) => {
    socket.write('220 x\r\n');
    socket.on('data', () => socket.write(`250-${'x'.repeat(60_000)}\r\n`.repeat(20)));
  });
  const cases: [string, number, RegExp][] = [
    ['down', 1, /server-unreachable/],
    ['closed', closed, /server-unreachable/],
    ['silent', silent, /timed-out/],
    ['dripping', dripping, /timed-out/],
    ['nonsense', nonsense, /target-failed|server-unreachable/],
    ['endless', endless, /target-failed|server-unreachable|timed-out/],
  ];
  for (const [name, port, code] of cases) {
    const begin = performance.now();
    const sending = smtpTarget(smtpConfig(port), undefined, { limits: LIMITS }).send(message, never);
    await assert.rejects(sending, (error: { code: string; message: string }) => {
      assert.match(String(error.code), code, `${name}: ${error.message}`);
      return true;
    });
    assert.ok(performance.now() - begin < 2000, name);
  }
});

test('whoever ends the server does not wait for a mail server', async (t) => {
  const silent = await socketServer(t, () => undefined);
  const stop = new AbortController();
  const sending = smtpTarget(smtpConfig(silent), undefined).send(message, stop.signal);
  setTimeout(() => stop.abort(new Error('the server ends')), 100);
  await assert.rejects(sending, /the server ends/);
});
