// A connection over its calls: kept where it can be, made anew where not, and never waited for without end.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer as createPlainServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer } from 'node:tls';
import { isBrokenLine } from '../../../src/transport/client/answer-error.ts';
import { BulkConnection, type TakePart } from '../../../src/transport/client/bulk-connection.ts';
import { TrustedLines } from '../../../src/transport/client/trusted-line.ts';
import { makeCertificate } from './certificate.ts';

const NEVER = new AbortController().signal;
const certificate = makeCertificate('bulk');
const NO_BODY = { path: '/v1/x/have', authorization: 'Bearer t', length: 0, body: new Uint8Array(0) };
const ok = (text: string, fields = ''): string =>
  `HTTP/1.1 200 OK\r\n${fields}content-length: ${text.length}\r\n\r\n${text}`;

/** Something that happens once. */
function signal(): { readonly given: Promise<void>; readonly give: () => void } {
  let give = (): void => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { given, give };
}

/** Keeps parts of an answer, which lie there only until the next one comes. */
const into =
  (parts: Buffer[]): TakePart =>
  (part) => {
    parts.push(Buffer.from(part));
    return undefined;
  };

/** A server that hands each request's head to `answer`, with the socket, and counts its connections. */
async function rig(
  t: TestContext,
  answer: (socket: Socket, head: string, place: number) => void,
  { keptMs, trusts = true }: { keptMs?: number; trusts?: boolean } = {},
) {
  const { key, cert, fingerprint } = await certificate;
  const sockets: Socket[] = [];
  let requests = 0;
  let bytes = 0;
  const server = createServer({ key, cert }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (data: Buffer) => {
      bytes += data.length;
      text += data.toString('latin1').slice(0, 4096);
      const end = text.indexOf('\r\n\r\n');
      if (end < 0 || !text.startsWith('POST')) return;
      const head = text.slice(0, end);
      text = '';
      answer(socket, head, requests++);
    });
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const lines = new TrustedLines(
    trusts ? fingerprint : fingerprint.replace(/^../, (two) => (two === '00' ? '11' : '00')),
  );
  const connection = new BulkConnection(lines, `https://127.0.0.1:${port}`, keptMs);
  t.after(() => {
    connection.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const call = async (until = NEVER): Promise<string> => {
    const parts: Buffer[] = [];
    const status = await connection.exchange(NO_BODY, into(parts), until);
    return `${status} ${Buffer.concat(parts)}`;
  };
  return { connection, call, sockets, lines, bytes: () => bytes };
}

test('calls follow each other on one connection', async (t) => {
  const { call, sockets } = await rig(t, (socket, _, place) => void socket.write(ok(`answer ${place}`)));
  for (let place = 0; place < 5; place++) assert.equal(await call(), `200 answer ${place}`);
  assert.equal(sockets.length, 1);
});

test('a connection that cannot be kept is made anew, and so is one that rested or was closed', async (t) => {
  const answers = [
    (socket: Socket) => socket.write(ok('0', 'connection: close\r\n')),
    (socket: Socket) => socket.write(`${ok('1')}more`),
    (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n2'),
    (socket: Socket) => socket.end(ok('3')),
    (socket: Socket) => socket.write(ok('4')),
    (socket: Socket) => socket.write(ok('5')),
  ];
  const { call, sockets } = await rig(t, (socket, _, place) => answers[place]?.(socket), { keptMs: 300 });
  for (let place = 0; place < 4; place++) {
    assert.equal(await call(), `200 ${place}`);
    if (place === 3) await sleep(100);
    assert.equal(sockets.length, place + 1);
  }
  assert.equal(await call(), '200 4');
  await sleep(350);
  assert.equal(await call(), '200 5');
  assert.equal(sockets.length, 6);
});

test('an answer that nobody asked for ends the connection, not the next call', async (t) => {
  const { call, sockets } = await rig(t, (socket, _, place) => void socket.write(ok(`${place}`)));
  assert.equal(await call(), '200 0');
  sockets[0]?.write('HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n');
  await once(sockets[0] as Socket, 'close');
  assert.equal(await call(), '200 1');
  assert.equal(sockets.length, 2);
});

test('an answer in the middle of a long body ends the sending of it', async (t) => {
  const refusal = 'HTTP/1.1 413 Large\r\ncontent-length: 2\r\n\r\nno';
  const { connection, call, sockets, bytes } = await rig(t, (socket, _, place) =>
    socket.write(place === 0 ? refusal : ok('fine')),
  );
  let given = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (; given < 4096; given++) {
      yield Buffer.alloc(256 * 1024);
      await sleep(1);
    }
  }
  const said: Buffer[] = [];
  const request = { ...NO_BODY, length: 2 ** 30, body: endless() };
  const status = await connection.exchange(request, into(said), NEVER);
  assert.deepEqual([status, Buffer.concat(said).toString()], [413, 'no']);
  const before = given;
  assert.equal(await call(), '200 fine');
  await sleep(50);
  assert.ok(given - before <= 1, `${given - before} more slices were taken`);
  assert.equal(sockets.length, 2);
  assert.ok(bytes() < 2 ** 29);
});

test('what takes an answer holds it up, and nothing is lost', async (t) => {
  const body = Buffer.alloc(32 * 1024 * 1024, 'abcdefg');
  const { connection } = await rig(t, (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`);
    socket.write(body);
  });
  const parts: Buffer[] = [];
  let taken = 0;
  const [full, goOn] = [signal(), signal()];
  const done = connection.exchange(
    NO_BODY,
    (part) => {
      parts.push(Buffer.from(part));
      taken += part.length;
      if (parts.length !== 3) return undefined;
      full.give();
      return goOn.given;
    },
    NEVER,
  );
  await full.given;
  await sleep(200);
  const before = taken;
  assert.ok(before < 1024 * 1024, `${before} bytes came while nothing was wanted`);
  goOn.give();
  assert.equal(await done, 200);
  assert.ok(Buffer.concat(parts).equals(body));
});

test('an answer is taken when what holds up its last part is over, and what fails there fails the call', async (t) => {
  const { connection } = await rig(t, (socket) => void socket.write(ok('hi')));
  const started = performance.now();
  assert.equal(await connection.exchange(NO_BODY, () => sleep(150), NEVER), 200);
  assert.ok(performance.now() - started > 120);
  const failing = connection.exchange(NO_BODY, () => Promise.reject(new Error('no room')), NEVER);
  await assert.rejects(failing, /no room/);
});

test('a line that breaks in the middle is a broken line', async (t) => {
  const cuts = ['', 'HTTP/1.1 20', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi'];
  const { call } = await rig(t, (socket, _, place) => socket.end(cuts[place]));
  for (const _ of cuts) await assert.rejects(call(), isBrokenLine);
});

test('a call that is given up ends at once, and its connection with it', async (t) => {
  const asked = signal();
  const { call, sockets } = await rig(t, (socket, _, place) => {
    if (place > 0) socket.write(ok('fine'));
    else asked.give();
  });
  const stop = new AbortController();
  const running = call(stop.signal);
  running.catch(() => undefined);
  await asked.given;
  stop.abort(new Error('enough'));
  await assert.rejects(running, /enough/);
  await once(sockets[0] as Socket, 'close');
  assert.equal(await call(), '200 fine');
  await assert.rejects(call(stop.signal), /enough/);
});

test('a server that never shakes hands is given up when the caller wants it', async (t) => {
  const server = createPlainServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const connection = new BulkConnection(new TrustedLines(undefined), `https://127.0.0.1:${port}`);
  const stop = new AbortController();
  const running = connection.exchange(NO_BODY, () => undefined, stop.signal);
  running.catch(() => undefined);
  const [socket] = await accepted;
  stop.abort(new Error('enough'));
  await assert.rejects(running, /enough/);
  socket.resume();
  await once(socket, 'close');
});

test('a server that is another is told nothing', async (t) => {
  const { call, bytes } = await rig(t, () => assert.fail('a request came'), { trusts: false });
  await assert.rejects(call(), { code: 'server-untrusted' });
  assert.equal(bytes(), 0);
});

test('a server that speaks first is another one', async (t) => {
  const { key, cert, fingerprint } = await certificate;
  const sockets: Socket[] = [];
  const server = createServer({ key, cert }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write('220 mail.example.org ESMTP\r\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const connection = new BulkConnection(new TrustedLines(fingerprint), `https://127.0.0.1:${port}`);
  t.after(() => {
    connection.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  for (let time = 0; time < 20; time++)
    await assert.rejects(
      connection.exchange(NO_BODY, () => undefined, NEVER),
      { code: 'protocol-failed', message: /does not speak HTTP over TLS: (it speaks before|its answer begins)/ },
    );
  assert.equal(sockets.length, 20);
});

test('bodies in many slices leave the connection as it was', async (t) => {
  const { key, cert, fingerprint } = await certificate;
  const slice = 256 * 1024;
  const length = 12 * slice;
  const sockets = new Set<Socket>();
  const server = createServer({ key, cert }, (socket) => {
    sockets.add(socket);
    let request = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (data: Buffer) => {
      request = Buffer.concat([request, data]);
      const head = request.indexOf('\r\n\r\n') + 4;
      if (head < 4 || request.length < head + length) return;
      assert.equal(request.length, head + length);
      request = Buffer.alloc(0);
      socket.write(ok('taken'));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const connection = new BulkConnection(new TrustedLines(fingerprint), `https://127.0.0.1:${port}`);
  t.after(() => {
    connection.close();
    server.close();
  });
  async function* slices(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < length; at += slice) yield Buffer.alloc(slice);
  }
  for (let time = 0; time < 10; time++)
    assert.equal(await connection.exchange({ ...NO_BODY, length, body: slices() }, () => undefined, NEVER), 200);
  assert.equal(sockets.size, 1);
});

test('an answer before the last bytes have left the socket leaves the connection as it was', async (t) => {
  const { key, cert, fingerprint } = await certificate;
  const length = 32 * 1024 * 1024;
  const sockets: Socket[] = [];
  const server = createServer({ key, cert }, (socket) => {
    sockets.push(socket);
    let bytes = 0;
    socket.on('error', () => undefined);
    socket.on('data', (data: Buffer) => {
      if (bytes === 0) {
        socket.pause();
        socket.write(ok('early'));
      }
      const before = bytes;
      bytes += data.length;
      // The second call: the first one's head is shorter.
      if (before <= length + 1000 && bytes > length + 1000) socket.write(ok('next'));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const connection = new BulkConnection(new TrustedLines(fingerprint), `https://127.0.0.1:${port}`);
  t.after(() => {
    connection.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  async function* slice(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(length);
  }
  const first: Buffer[] = [];
  assert.equal(await connection.exchange({ ...NO_BODY, length, body: slice() }, into(first), NEVER), 200);
  assert.equal(Buffer.concat(first).toString(), 'early');
  const next: Buffer[] = [];
  const second = connection.exchange({ ...NO_BODY, length: 1000, body: Buffer.alloc(1000) }, into(next), NEVER);
  sockets[0]?.resume();
  assert.equal(await second, 200);
  assert.equal(Buffer.concat(next).toString(), 'next');
  assert.equal(sockets.length, 1);
});

test('closing ends the call that runs, and what passed is counted', async (t) => {
  const asked = signal();
  const { connection, call, lines } = await rig(t, (socket, _, place) => {
    if (place === 0) socket.write(ok('x'.repeat(1000)));
    else asked.give();
  });
  await call();
  const running = call();
  running.catch(() => undefined);
  await asked.given;
  connection.close();
  await assert.rejects(running, isBrokenLine);
  const { bytesUp, bytesDown } = lines.counters;
  assert.ok(bytesUp > 200 && bytesDown > 1000, `${bytesUp} up, ${bytesDown} down`);
});
