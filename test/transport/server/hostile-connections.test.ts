// Connections as they should not be: slow, silent, broken off, pipelined, too many, not TLS at all. The server closes them, keeps nothing half done,
// and serves everybody else meanwhile.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { afterEach, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { Kind } from '../../../src/chunker/object.ts';
import { makeRecord, randomRecord } from '../../datastore/fixture.ts';
import { type Client, framed, makeImage, Rig, type RigOptions, throwawayCertificate } from './rig.ts';

let rig: Rig;

const start = async (options: RigOptions = {}): Promise<void> => {
  rig = await Rig.start(options);
};

afterEach(async () => {
  assert.deepEqual(rig.reported, []);
  await rig.stop();
});

/** A TLS connection that says what it is told to. */
async function raw(): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: rig.listener.port, rejectUnauthorized: false });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  return socket;
}

function head(client: Client, verb: string, bytes: number): string {
  return `POST /v1/${client.id}/${verb} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${client.opened.token}\r\nContent-Length: ${bytes}\r\n\r\n`;
}

/** All that comes until the other side closes. */
async function rest(socket: TLSSocket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (!socket.closed) await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}

test('a client that dies within a record leaves nothing of it and no lock; its session goes on', async () => {
  await start();
  const client = await rig.backup();
  const [whole, half] = [randomRecord(50_000), randomRecord(200_000)];
  const body = framed([whole, half]);
  const socket = await raw();
  socket.write(head(client, 'put', body.length));
  socket.write(body.subarray(0, -50_000));
  while (!(await client.have(whole.id))[0]) await setTimeout(5);
  socket.destroy();
  assert.deepEqual(await client.have(whole.id, half.id), [true, false]);
  const image = makeImage(['a', 'b']);
  assert.equal((await client.put(half, ...image.all)).status, 200);
  await client.commit(image);
});

test('silence, and a drop now and then, are not listened to for ever', async () => {
  await start({ idleConnectionMs: 700 });
  const client = await rig.backup();
  const silent = await raw();
  const begun = await raw();
  begun.write('POST /v1/');
  const withinBody = await raw();
  withinBody.write(head(client, 'put', 1000));
  withinBody.write(Buffer.alloc(100));
  const plain = connectPlain(rig.listener.port, '127.0.0.1');
  plain.on('error', () => {});
  await Promise.all([silent, begun, withinBody].map((socket) => rest(socket)));
  plain.destroy();
  assert.deepEqual(await client.have(randomBytes(32)), [false]);
});

test('a header that never ends is cut off', async () => {
  await start({ idleConnectionMs: 700 });
  const socket = await raw();
  socket.write('POST /v1/x HTTP/1.1\r\n');
  const closed = once(socket, 'close');
  const drip = setInterval(() => socket.write('x-a: b\r\n'), 300);
  const started = performance.now();
  await closed;
  clearInterval(drip);
  assert.ok(performance.now() - started < 8000);
});

test('what is no TLS, no HTTP, or a header too long, is closed without a word', async () => {
  await start({ idleConnectionMs: 700 });
  const plain = connectPlain(rig.listener.port, '127.0.0.1');
  plain.on('error', () => {});
  plain.write('GET / HTTP/1.1\r\n\r\n');
  plain.resume();
  await once(plain, 'close');
  for (const text of [
    '\0\0\0\0\r\n\r\n',
    `POST / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
    'PRI * HTTP/2.0\r\n\r\n',
  ]) {
    const socket = await raw();
    socket.write(text);
    assert.ok(!(await rest(socket)).includes('200'));
  }
  const client = await rig.backup();
  assert.deepEqual(await client.have(randomBytes(32)), [false]);
});

test('calls on one connection follow each other: one that does not wait is closed', async () => {
  await start();
  const client = await rig.backup();
  const socket = await raw();
  const body = framed([randomRecord(100)]);
  socket.write(head(client, 'put', body.length));
  await setTimeout(100);
  socket.write(Buffer.concat([body, Buffer.from(head(client, 'have', 0).repeat(50))]));
  await Promise.race([rest(socket), setTimeout(2000)]);
  socket.destroy();
  assert.deepEqual(await client.have(randomBytes(32)), [false]);
});

test('the refusal of a long body is received by a client that is still sending it', async () => {
  await start();
  const client = await rig.backup();
  const bad = Buffer.alloc(4);
  bad.writeUInt32LE(72);
  const body = Buffer.concat([bad, randomBytes(20_000_000)]);
  const answer = await client.bulk('put', body);
  assert.deepEqual([answer.status, answer.json.code], [400, 'object-damaged']);
  const tooLong = await client.bulk('put', Buffer.alloc(69 * 1024 * 1024));
  assert.deepEqual([tooLong.status, tooLong.json.code], [413, 'too-large']);
});

test('connections are shared out evenly, and many clients at once are all served', async () => {
  await start();
  const clients = await Promise.all(Array.from({ length: 40 }, (_, n) => rig.backup({ group: `vm/${200 + n}` })));
  const agents = clients.map(() => new Agent({ keepAlive: true, rejectUnauthorized: false }));
  const common = randomRecord(70_000);
  await Promise.all(
    clients.map(async (client, n) => {
      const own = makeImage([randomBytes(30_000), randomBytes(30_000)]);
      assert.deepEqual((await client.bulk('put', framed([common, ...own.all]), agents[n])).json, { records: 5 });
      await client.commit(own);
    }),
  );
  const counts = rig.listener.connections;
  assert.ok(Math.abs((counts[0] as number) - (counts[1] as number)) <= 1, `${counts}`);
  for (const agent of agents) agent.destroy();
});

test('large records wait for one of few places, small ones do not wait for them', async () => {
  await start({ threads: 1 });
  const large = Array.from({ length: 8 }, () => makeRecord(randomBytes(6_000_000), Kind.blob));
  const clients = await Promise.all(large.map((_, n) => rig.backup({ group: `vm/${300 + n}` })));
  const sockets = await Promise.all(clients.map(() => raw()));
  const answers = sockets.map((socket) => rest(socket));
  for (const [n, socket] of sockets.entries()) {
    const body = framed([large[n]!]);
    socket.write(head(clients[n]!, 'put', body.length).replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    socket.write(body.subarray(0, 3_000_000));
  }
  const small = await rig.backup({ group: 'vm/400' });
  assert.equal((await small.put(randomRecord(100_000))).status, 200);
  for (const [n, socket] of sockets.entries()) socket.write(framed([large[n]!]).subarray(3_000_000));
  for (const answer of await Promise.all(answers)) assert.match(answer, /"records":1/);
});

test('a new certificate is used from the next connection on', async () => {
  await start();
  const before = (await raw()).getPeerCertificate().fingerprint256;
  await rig.listener.secure(await throwawayCertificate());
  const after = (await raw()).getPeerCertificate().fingerprint256;
  assert.notEqual(after, before);
  const stale = rig.listener.secure({ cert: 'no', key: 'no' });
  await assert.rejects(stale);
  assert.equal((await raw()).getPeerCertificate().fingerprint256, after);
});
