// The proxy does to bytes what a line does, and nothing else.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from './free-ports.ts';
import { type LineOptions, TcpProxy } from './tcp-proxy.ts';

const MIB = 1024 * 1024;
const AT = '127.0.0.2';

/** A server behind a proxy. */
async function line(t: TestContext, serve: (socket: Socket) => void, options: LineOptions = {}) {
  const port = await freePorts(1);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => void server.close());
  const proxy = await TcpProxy.start(AT, { host: '127.0.0.1', ports: [port] }, options);
  t.after(() => proxy.close());
  const open = async (): Promise<Socket> => {
    const socket = connect({ host: AT, port, allowHalfOpen: true });
    await once(socket, 'connect');
    return socket;
  };
  return { proxy, open };
}

const echo = (socket: Socket): void => void socket.pipe(socket);

async function all(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

test('bytes pass unchanged both ways, are counted, and the end comes behind the last of them', async (t) => {
  const { proxy, open } = await line(t, echo, { roundTripMs: 10 });
  const sent = randomBytes(7 * MIB + 13);
  const socket = await open();
  socket.end(sent);
  assert.ok((await all(socket)).equals(sent));
  assert.deepEqual([proxy.bytesUp, proxy.bytesDown, proxy.connections], [sent.length, sent.length, 1]);
});

test('a round trip takes its time', async (t) => {
  const { open } = await line(t, echo, { roundTripMs: 60 });
  const socket = await open();
  for (let turn = 0; turn < 3; turn++) {
    const started = performance.now();
    socket.write('x');
    await once(socket, 'data');
    const tookMs = performance.now() - started;
    assert.ok(tookMs >= 55 && tookMs < 500, `${tookMs} ms`);
  }
  socket.destroy();
});

test('connections share the bandwidth, and use all of it', async (t) => {
  const bytesPerSecond = 8 * MIB;
  const { open } = await line(t, (socket) => void socket.resume().on('end', () => socket.end()), { bytesPerSecond });
  const started = performance.now();
  await Promise.all(
    Array.from({ length: 3 }, async () => {
      const socket = await open();
      socket.end(Buffer.alloc(2 * MIB));
      await all(socket);
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  assert.ok(seconds >= 0.7 && seconds < 1.5, `${seconds} s for 6 MiB at 8 MiB a second`);
});

test('a reader that stops stops the writer: what waits in between is bounded', async (t) => {
  const received: Socket[] = [];
  const { open } = await line(t, (socket) => void received.push(socket.pause()), { bytesPerSecond: 100 * MIB });
  const socket = await open();
  const whole = 64 * MIB;
  socket.write(Buffer.alloc(whole));
  await sleep(300);
  assert.ok(socket.writableLength > whole / 2, `${socket.writableLength} of ${whole} wait at the writer`);
  socket.destroy();
});

test('a cut breaks both sides, loses what was under way, and the next connection works', async (t) => {
  const broken: string[] = [];
  const { proxy, open } = await line(
    t,
    (socket) => {
      socket.on('close', (isError) => broken.push(`server ${isError}`));
      echo(socket);
    },
    { roundTripMs: 200 },
  );
  const socket = await open();
  socket.on('error', () => {});
  socket.write('lost');
  await sleep(20);
  proxy.cut();
  await new Promise((resolve) => socket.once('close', resolve));
  await sleep(20);
  assert.deepEqual(broken, ['server true']);
  assert.deepEqual([proxy.bytesUp, proxy.cuts], [0, 1]);
  const next = await open();
  next.end('whole');
  assert.equal(String(await all(next)), 'whole');
});
