// The listener over real sockets: TLS as clients of Proxmox speak it, plain HTTP that is sent away, silence, and a certificate that changes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Agent, get, Agent as HttpsAgent } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { ensureSelfSigned, type ServerCertificate } from '../../src/daemon/certificate.ts';
import {
  closeListener,
  createListener,
  handUpgradesTo,
  listen,
  replaceCertificate,
} from '../../src/daemon/listener.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';

async function certificate(t: TestContext): Promise<ServerCertificate> {
  const directory = temporaryDirectory(t);
  const paths = { certificate: join(directory, 'server.crt'), key: join(directory, 'server.key') };
  return await ensureSelfSigned(paths, ['vault'], Date.now());
}

async function started(t: TestContext) {
  const server = createListener(await certificate(t), (request, response) => {
    response.end(`${request.method} ${request.url}`);
  });
  const { port } = await listen(server, '127.0.0.1', 0);
  t.after(() => closeListener(server, 0));
  return { server, port };
}

/** All that comes back for some bytes. */
async function raw(port: number, ...parts: string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  for (const part of parts) {
    socket.write(part);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

async function fetched(port: number, agent?: Agent): Promise<{ text: string; fingerprint: string }> {
  const options = { port, path: '/x', rejectUnauthorized: false, agent: agent ?? false };
  const request = get({ host: '127.0.0.1', ...options });
  const [response] = await once(request, 'response');
  const fingerprint = response.socket.getPeerCertificate().fingerprint256.toLowerCase();
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return { text, fingerprint };
}

test('HTTPS is answered, and no protocol is negotiated, whatever a client offers', async (t) => {
  const { port } = await started(t);
  assert.equal((await fetched(port)).text, 'GET /x');
  const socket = connectTls({ port, rejectUnauthorized: false, ALPNProtocols: ['h2', 'http/1.1'] });
  await once(socket, 'secureConnect');
  assert.equal(socket.alpnProtocol, false);
  assert.equal(socket.getProtocol(), 'TLSv1.3');
  socket.end('GET /y HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*GET \/y$/);
});

test('an upgrade without a body goes on, any other is refused at once', async (t) => {
  const { server, port } = await started(t);
  handUpgradesTo(server, (request, socket) => socket.end(`${request.headers.upgrade} taken`));
  const answered = async (method: string): Promise<string> => {
    const socket = connectTls({ port, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    socket.write(
      `${method} /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 9\r\n\r\n`,
    );
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return text;
  };
  assert.equal(await answered('GET'), 'websocket taken');
  assert.match(await answered('POST'), /^HTTP\/1\.1 400 /);
});

test('old TLS is refused', async (t) => {
  const { port } = await started(t);
  const socket = connectTls({
    port,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'ALL:@SECLEVEL=0',
  });
  const [error] = await once(socket, 'error');
  assert.match(String(error), /alert|version/i);
});

test('plain HTTP is sent to HTTPS: GET and HEAD for good, other methods as they are', async (t) => {
  const { port } = await started(t);
  assert.equal(
    await raw(port, 'GET /api2/json/version HTTP/1.1\r\nHost: 127.0.0.1:8007\r\n\r\n'),
    'HTTP/1.1 301 Moved Permanently\r\nlocation: https://127.0.0.1:8007\r\nconnection: close\r\ncontent-length: 0\r\n\r\n',
  );
  assert.match(await raw(port, 'HEAD / HTTP/1.1\r\nhost: a\r\n\r\n'), /^HTTP\/1\.1 301 /);
  assert.match(
    await raw(port, 'P', 'OST / HTTP/1.1\r\nhos', 't: vault\r\n', '\r\n'),
    /^HTTP\/1\.1 308 [\s\S]*https:\/\/vault\r\n/,
  );
  assert.match(
    await raw(port, 'GET / HTTP/1.0\r\n\r\n'),
    new RegExp(`^HTTP/1\\.1 301 [\\s\\S]*https://127\\.0\\.0\\.1:${port}\\r\\n`),
  );
});

test('nothing of a hostile head gets into the answer, and it is bounded', async (t) => {
  const { port } = await started(t);
  const forged = await raw(port, 'GET / HTTP/1.1\r\nhost: a\rset-cookie: x\r\n\r\n');
  assert.doesNotMatch(forged, /cookie/);
  assert.match(await raw(port, 'nonsense\r\n\r\n'), /^HTTP\/1\.1 400 /);
  assert.match(await raw(port, `GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}`), /^HTTP\/1\.1 301 /);
});

test('connections that break off at any point do no harm', async (t) => {
  const { port } = await started(t);
  for (const bytes of [[], [0x16], [0x16, 0x03, 0x01, 0xff, 0xff, 1, 2, 3], [0x47]]) {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    if (bytes.length > 0) socket.write(Buffer.from(bytes));
    await new Promise((resolve) => setTimeout(resolve, 10));
    socket.resetAndDestroy();
  }
  assert.equal((await fetched(port)).text, 'GET /x');
});

test('a new certificate is for new connections; those that are open go on', async (t) => {
  const { server, port } = await started(t);
  const agent = new HttpsAgent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const before = await fetched(port, agent);
  const next = await certificate(t);
  replaceCertificate(server, next);
  assert.equal((await fetched(port, agent)).fingerprint, before.fingerprint);
  assert.equal((await fetched(port)).fingerprint, next.fingerprint);
  assert.notEqual(next.fingerprint, before.fingerprint);
});

test('an address that is taken, or not here, is said', async (t) => {
  const { port } = await started(t);
  const other = createListener(await certificate(t), () => {});
  await assert.rejects(listen(other, '127.0.0.1', port), { code: 'bad-argument', message: /another program listens/ });
  await assert.rejects(listen(other, '192.0.2.1', 0), { code: 'bad-argument', message: /--listen/ });
});

test('closing waits for an answer under way, and not for ever', async (t) => {
  let finish = (): void => {};
  const server = createListener(await certificate(t), (request, response) => {
    finish = () => response.end('done');
    if (request.url === '/never') finish = () => {};
  });
  const { port } = (await listen(server, '127.0.0.1', 0)) as AddressInfo;
  const answer = fetched(port);
  await once(server, 'request');
  const closed = closeListener(server, 60_000);
  finish();
  assert.equal((await answer).text, 'done');
  await closed;
  await assert.rejects(fetched(port), { code: 'ECONNREFUSED' });
});
