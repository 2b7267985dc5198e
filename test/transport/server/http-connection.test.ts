// Connections of a bulk listener by themselves, over real TLS: bodies in and out in any pieces and at any pace, and clients of every kind.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { type AddressInfo, connect as connectPlain, createServer, type Server, type Socket } from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { loadFileCalls } from '../../../src/agent/tree/file-calls.ts';
import { type HttpCall, HttpConnection } from '../../../src/transport/server/http-connection.ts';
import { throwawayCertificate } from './rig.ts';

const { duplicate } = loadFileCalls();
const open = new Set<HttpConnection>();
/** Of answers. */
const failures: string[] = [];
let secureContext: SecureContext;
let server: Server;
let port: number;
let answer: (call: HttpCall) => Promise<void>;

before(async () => {
  secureContext = createSecureContext(await throwawayCertificate());
  server = createServer({ pauseOnConnect: true }, (socket) => {
    const fd = duplicate((socket as unknown as { _handle: { fd: number } })._handle.fd);
    socket.destroy();
    const connection: HttpConnection = new HttpConnection({
      ...{ fd, secureContext, idleMs: 60_000 },
      answer: (call) => void answer(call).catch((error: Error) => failures.push(error.message)),
      closed: () => void open.delete(connection),
    });
    open.add(connection);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});

afterEach(async () => {
  for (let tries = 0; open.size > 0 && tries < 200; tries++) await sleep(10);
  assert.equal(open.size, 0, 'a connection that the client left is closed');
  assert.deepEqual(failures, []);
});

after(() => void server.close());

/** A call's body as a whole, read with a rest now and then. */
function bodyOf({ body }: HttpCall): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    body.read({
      part: (part) => {
        parts.push(Buffer.from(part));
        if (Math.random() > 0.2) return;
        body.pause();
        setTimeout(() => body.resume(), Math.random() * 3);
      },
      end: () => resolve(Buffer.concat(parts)),
      lost: () => reject(new Error('lost')),
    });
  });
}

const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Answers with what was sent, in pieces of any size. */
async function echo(call: HttpCall): Promise<void> {
  const bytes = await bodyOf(call);
  call.answer.begin(200, 'application/octet-stream', undefined);
  for (let at = 0; at < bytes.length; ) {
    const length = Math.ceil(Math.random() * 300_000);
    await call.answer.write(bytes.subarray(at, at + length));
    at += length;
  }
  call.answer.end();
}

function say(call: HttpCall, text: string): void {
  call.answer.begin(200, 'text/plain', text.length, Buffer.from(text));
  call.answer.end();
}

async function line(options: { allowHalfOpen?: boolean } = {}): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  return socket;
}

/** What comes until the line ends. */
async function all(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  await once(socket, 'close');
  return Buffer.concat(parts).toString('latin1');
}

test('call after call on one line comes in and goes out byte for byte, with a length and in chunks', async () => {
  answer = echo;
  const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
  for (const [place, bytes] of [0, 1, 20_000, 3_000_000, 5, 1_000_000].entries()) {
    const body = randomBytes(bytes);
    const headers = place % 2 === 0 ? { 'content-length': bytes } : { 'transfer-encoding': 'chunked' };
    const call = httpsRequest({ host: '127.0.0.1', port, agent, method: 'POST', path: '/', headers });
    for (let at = 0; at < bytes; at += 70_000) call.write(body.subarray(at, at + 70_000));
    call.end();
    const [response] = (await once(call, 'response')) as [AsyncIterable<Buffer> & { statusCode: number }];
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part);
    assert.equal(sumOf(Buffer.concat(parts)), sumOf(body));
    assert.equal(open.size, 1);
  }
  agent.destroy();
});

test('a client that has no more to say gets its answer, and the line ends', async () => {
  answer = async (call) => {
    const body = await bodyOf(call);
    await sleep(50);
    say(call, `got ${body}`);
  };
  const socket = await line({ allowHalfOpen: true });
  socket.end('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi');
  assert.match(await all(socket), /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\ngot hi$/);
});

test('a client that has no more to say before it has said all breaks its call off', async () => {
  answer = async (call) => void (await bodyOf(call));
  for (const end of ['end', 'destroy'] as const) {
    const socket = await line({ allowHalfOpen: true });
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nhi');
    await sleep(30);
    socket[end]();
    if (end === 'end') await all(socket);
  }
  for (let tries = 0; failures.length < 2 && tries < 200; tries++) await sleep(10);
  assert.deepEqual(failures.splice(0), ['lost', 'lost']);
});

test('a client that asks first is told to send', async () => {
  answer = async (call) => say(call, `got ${await bodyOf(call)}`);
  const socket = await line();
  const answered = all(socket);
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n');
  await once(socket, 'data');
  socket.write('hi');
  assert.match(await answered, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\ngot hi$/);
});

test('HTTP/1.0 has no chunks: the body ends with the line', async () => {
  answer = echo;
  const socket = await line();
  const body = 'x'.repeat(100_000);
  socket.write(`POST / HTTP/1.0\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const [head, text] = (await all(socket)).split('\r\n\r\n') as [string, string];
  assert.doesNotMatch(head, /transfer-encoding/);
  assert.match(head, /connection: close/);
  assert.ok(text === body);
});

test('HEAD is answered with a header alone', async () => {
  answer = async (call) => say(call, 'not to be seen');
  const socket = await line();
  socket.write('HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  assert.match(await all(socket), /^HTTP\/1\.1 200 OK\r\n[\s\S]*content-length: 14\r\n[\s\S]*\r\n\r\n$/);
});

test('an answer before the end of the body says that the line ends, and arrives', async () => {
  answer = async (call) => say(call, 'enough');
  const socket = await line();
  const answered = all(socket);
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(10)}`);
  assert.match(await answered, /connection: close[\s\S]*\r\n\r\nenough$/);
});

test('a call before its turn ends the line, and the answer to the one that runs is for nobody', async () => {
  let goOn = (): void => {};
  answer = async (call) => {
    await bodyOf(call);
    await new Promise<void>((resolve) => {
      goOn = resolve;
    });
    say(call, 'too late');
  };
  for (const gapMs of [0, 50]) {
    const socket = await line();
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi');
    if (gapMs > 0) await sleep(gapMs);
    socket.write('POST / HTTP/1.1\r\n');
    assert.equal(await all(socket), '');
    goOn();
  }
});

test('an answer waits for the client to take it, and ends when that leaves', async () => {
  let written = 0;
  let failure: { code?: string } | undefined;
  answer = async (call) => {
    await bodyOf(call);
    call.answer.begin(200, 'text/plain', undefined);
    try {
      for (;;) {
        await call.answer.write(Buffer.alloc(1 << 20));
        written++;
      }
    } catch (error) {
      failure = error as { code?: string };
    }
  };
  const socket = await line();
  socket.pause();
  socket.write('POST / HTTP/1.1\r\nHost: a\r\n\r\n');
  let before = -1;
  while (written !== before) {
    before = written;
    await sleep(300);
  }
  assert.ok(written < 30, `${written} MiB`);
  socket.destroy();
  for (let tries = 0; failure === undefined && tries < 200; tries++) await sleep(10);
  assert.equal(failure?.code, 'aborted');
});

test('what is no TLS, at first or later, ends the line, and no descriptor is left', async () => {
  answer = echo;
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  const plain = connectPlain(port, '127.0.0.1');
  plain.write('GET / HTTP/1.1\r\n\r\n');
  plain.on('error', () => {});
  plain.resume();
  await once(plain, 'close');
  const below = connectPlain(port, '127.0.0.1');
  const above = connect({ socket: below, rejectUnauthorized: false });
  above.on('error', () => {});
  await once(above, 'secureConnect');
  below.write(randomBytes(2000));
  await once(below, 'close');
  for (let tries = 0; descriptors() > before && tries < 200; tries++) await sleep(10);
  assert.ok(descriptors() <= before);
});
