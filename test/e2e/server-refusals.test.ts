// The ends of a command that does not reach its server, or not the right one, or is not let in: clear, quick, and nothing was told to a stranger.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { freePorts } from '../support/server/free-ports.ts';
import { type Account, type ServerRig, startRig } from '../support/server/server-rig.ts';
import { TcpProxy } from '../support/server/tcp-proxy.ts';

const ended: (() => void)[] = [];
let rig: ServerRig;
let account: Account;

before(async () => {
  rig = await startRig({ after: (end) => void ended.unshift(end) });
  account = await rig.newcomer('vmhost', 'DatastoreBackup');
  writeFileSync(rig.path('conf'), 'cores: 4\n');
});
after(() => {
  for (const end of ended) end();
});

const backup = (): string[] => ['backup', '--group', 'vm/101', `vm.conf:${rig.path('conf')}`];

test('another certificate is not trusted, and the secret is not sent to it', async (t) => {
  const proxy = await TcpProxy.start('127.0.0.3', { host: rig.server.host, ports: [rig.server.port] });
  t.after(() => proxy.close());
  const wrong = account.at(proxy.host, rig.server.port).with({ HOLDFAST_FINGERPRINT: 'ab'.repeat(32) });
  for (const args of [backup(), ['snapshot', 'list'], ['restore', 'vm/101/latest', 'vm.conf', '-']]) {
    const before = proxy.bytesUp;
    const message = await wrong.fails('server-untrusted', ...args);
    assert.ok(message.toLowerCase().includes(rig.server.fingerprint.slice(0, 20).toLowerCase()), message);
    // The handshake of TLS alone: a request has more than a kilobyte with it.
    assert.ok(proxy.bytesUp - before < 1000, `${proxy.bytesUp - before} bytes`);
  }
  const none = account.with({ HOLDFAST_FINGERPRINT: '', HOLDFAST_REMOTES: rig.path('none') });
  assert.match(await none.fails('server-untrusted', 'snapshot', 'list'), /--fingerprint/);
});

test('a wrong secret, user, token or datastore is refused without a word on which of them it was', async () => {
  const refused = [
    await account.with({ HOLDFAST_TOKEN_SECRET: 'wrong' }).fails('not-authenticated', ...backup()),
    await account.as('vmhost@local!other').fails('not-authenticated', ...backup()),
    await account.as('nobody@local!ci').fails('not-authenticated', ...backup()),
  ];
  assert.equal(new Set(refused).size, 1, refused.join('\n'));
  assert.ok(!refused.join().includes(account.secret));
  const elsewhere = account.with({ HOLDFAST_REPOSITORY: account.repository.replace(/tank$/, 'other') });
  assert.match(await elsewhere.fails('permission-denied', ...backup()), /permission/);
  assert.match(await account.with({ HOLDFAST_TOKEN_SECRET: '' }).fails('bad-argument', ...backup()), /TOKEN_SECRET/);
});

test('a server that is not there is told at once', async () => {
  const nowhere = account.at('127.0.0.1', await freePorts(1));
  for (const args of [backup(), ['snapshot', 'list'], ['datastore', 'gc']]) {
    const started = performance.now();
    assert.match(await nowhere.fails('server-unreachable', ...args), /cannot be reached/);
    assert.ok(performance.now() - started < 10_000);
  }
});

test('what answers without being a server is told as such', async (t) => {
  const port = await freePorts(1);
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    socket.end('SSH-2.0-OpenSSH_9.2\r\n');
  }).listen(port, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  await account.at('127.0.0.1', port).fails('protocol-failed', 'snapshot', 'list');
  assert.equal(sockets.length, 1);
});
