// The bulk calls byte for byte, and what becomes of answers that no server should give.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { AddressInfo, Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createServer } from 'node:tls';
import { isBrokenLine, lineError } from '../../../src/transport/client/answer-error.ts';
import { Bandwidth } from '../../../src/transport/client/bandwidth.ts';
import { BulkConnection } from '../../../src/transport/client/bulk-connection.ts';
import { BulkLine } from '../../../src/transport/client/bulk-line.ts';
import { TrustedLines } from '../../../src/transport/client/trusted-line.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { makeCertificate } from './certificate.ts';

const ACCESS = { session: '0123456789abcdef0123456789abcdef', token: 'T0k-en' };
const SIGNAL = new AbortController().signal;
const certificate = makeCertificate('bulk');
const IDS = Buffer.concat([Buffer.alloc(32, 1), Buffer.alloc(32, 2), Buffer.alloc(32, 3)]);

/** A listener that notes what comes and answers each call with the next of these bytes; undefined cuts the line. */
async function rig(
  t: TestContext,
  answers: (Buffer | string | undefined)[],
  limits: { up?: number; down?: number } = {},
) {
  const { key, cert, fingerprint } = await certificate;
  let got = Buffer.alloc(0);
  const sockets = new Set<Socket>();
  const server = createServer({ key, cert }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    let here = Buffer.alloc(0);
    socket.on('data', (data: Buffer) => {
      got = Buffer.concat([got, data]);
      here = Buffer.concat([here, data]);
      const end = here.indexOf('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(here.toString('latin1'))?.[1]);
      if (end < 0 || here.length < end + 4 + length) return;
      here = Buffer.alloc(0);
      const answer = answers.shift();
      if (answer === undefined) socket.destroy();
      else socket.write(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const lines = new TrustedLines(fingerprint);
  const line = new BulkLine(
    new BulkConnection(lines, `https://127.0.0.1:${port}`),
    new Bandwidth(limits.up),
    new Bandwidth(limits.down),
  );
  t.after(async () => {
    line.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { line, port, lines, got: () => got };
}

const ok = (body: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`), body]);
const failed = (status: number, body: string): string =>
  `HTTP/1.1 ${status} X\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
const head = (method: string, port: number, length: number): string =>
  `POST /v1/${ACCESS.session}/${method} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: keep-alive\r\n` +
  `authorization: Bearer ${ACCESS.token}\r\ncontent-type: application/octet-stream\r\ncontent-length: ${length}\r\n\r\n`;
const code =
  (wanted: string, why = /./) =>
  (error: unknown) =>
    error instanceof HoldfastError && error.code === wanted && why.test(error.message);

test('golden: have, put and get on the wire', async (t) => {
  const record = Buffer.from('a record as it lies in a pack');
  const frame = Buffer.concat([Buffer.of(29, 0, 0, 0), record]);
  const { line, port, got } = await rig(t, [
    ok(Buffer.of(0b101)),
    ok(Buffer.from('{"records":1}')),
    ok(Buffer.concat([frame, Buffer.alloc(4), frame])),
  ]);
  assert.deepEqual(await line.have(ACCESS, IDS, SIGNAL), new Uint8Array([0b101]));
  await line.put(ACCESS, [frame], 1, SIGNAL);
  const answer = await line.get(ACCESS, IDS, { mostBytes: 1000 }, SIGNAL);
  assert.deepEqual(Buffer.from(answer), Buffer.concat([frame, Buffer.alloc(4), frame]));
  const wanted = Buffer.concat([
    Buffer.from(head('have', port, 96)),
    IDS,
    Buffer.from(head('put', port, 33)),
    frame,
    Buffer.from(head('get', port, 96)),
    IDS,
  ]);
  assert.equal(got().toString('latin1'), wanted.toString('latin1'));
});

test('an answer lies in the memory that was offered, or in its own when it does not fit', async (t) => {
  const frame = (length: number): Buffer =>
    Buffer.concat([Buffer.from(Uint32Array.of(length).buffer), randomBytes(length)]);
  const [small, large] = [frame(60_000), frame(200_000)];
  const { line } = await rig(t, [ok(small), ok(large), ok(small)]);
  const into = new Uint8Array(new SharedArrayBuffer(100_000));
  const id = IDS.subarray(0, 32);
  const first = await line.get(ACCESS, id, { mostBytes: 1 << 20, into }, SIGNAL);
  assert.equal(first.buffer, into.buffer);
  assert.ok(small.equals(first));
  const second = await line.get(ACCESS, id, { mostBytes: 1 << 20, into }, SIGNAL);
  assert.notEqual(second.buffer, into.buffer);
  assert.ok(large.equals(second));
  assert.ok(small.equals(await line.get(ACCESS, id, { mostBytes: 1 << 20, into }, SIGNAL)));
});

test('a large body is the same bytes, in slices', async (t) => {
  const frames = Array.from({ length: 5 }, (_, seed) => Buffer.alloc(100_000, seed));
  const { line, port, got, lines } = await rig(t, [ok(Buffer.from('{"records":5}'))]);
  await line.put(ACCESS, frames, 5, SIGNAL);
  const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  assert.equal(hash(got()), hash(Buffer.concat([Buffer.from(head('put', port, 500_000)), ...frames])));
  assert.equal(lines.counters.bytesUp, got().length);
  assert.ok(lines.counters.bytesDown > 13);
});

const LIES: Record<string, { answer: Buffer | string; call: 'have' | 'put' | 'get'; why: RegExp }> = {
  'a bitmap that is too short': { call: 'have', answer: ok(Buffer.alloc(0)), why: /0 bytes instead of 1/ },
  'a bitmap that is too long': { call: 'have', answer: ok(Buffer.alloc(2)), why: /more than the 1 bytes/ },
  'a bitmap without end': {
    call: 'have',
    answer: `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nxxxxx\r\n`,
    why: /more than the 1 bytes/,
  },
  'another number of records': { call: 'put', answer: ok(Buffer.from('{"records":2}')), why: /put of 1 records/ },
  'no JSON': { call: 'put', answer: ok(Buffer.from('fine')), why: /put of 1 records/ },
  'a frame over the limit': { call: 'get', answer: ok(Buffer.of(255, 255, 255, 127)), why: /a frame of 2147483647/ },
  'too few frames': { call: 'get', answer: ok(Buffer.alloc(8)), why: /else than 3 frames/ },
  'too many frames': { call: 'get', answer: ok(Buffer.alloc(16)), why: /else than 3 frames/ },
  'a frame that is cut off': { call: 'get', answer: ok(Buffer.of(9, 0, 0, 0, 1, 1)), why: /else than 3 frames/ },
  'more bytes than can be': { call: 'get', answer: ok(Buffer.alloc(2000)), why: /more than the 1000 bytes/ },
  'a status that nobody speaks of': {
    call: 'have',
    answer: failed(418, 'teapot\u001b[2J'),
    why: /status 418: 'teapot \[2J';/,
  },
  'a code that is in no catalogue': {
    call: 'have',
    answer: failed(400, '{"code":"made-up","message":"m"}'),
    why: /m \(made-up\)/,
  },
};
for (const [what, { answer, call, why }] of Object.entries(LIES)) {
  test(`${call} answered with ${what} is no success`, async (t) => {
    const { line } = await rig(t, [answer]);
    const run = {
      have: () => line.have(ACCESS, IDS, SIGNAL),
      put: () => line.put(ACCESS, [Buffer.alloc(9)], 1, SIGNAL),
      get: () => line.get(ACCESS, IDS, { mostBytes: 1000 }, SIGNAL),
    };
    await assert.rejects(run[call], code('protocol-failed', why));
  });
}

test('errors of the catalogue come with code, data and status', async (t) => {
  const { line } = await rig(t, [failed(507, '{"code":"quota-exceeded","message":"full","data":{"index":3}}')]);
  await assert.rejects(
    () => line.put(ACCESS, [Buffer.alloc(9)], 1, SIGNAL),
    (error: unknown) => {
      assert.ok(error instanceof HoldfastError);
      assert.deepEqual([error.code, error.data], ['quota-exceeded', { index: 3, status: 507 }]);
      return true;
    },
  );
});

test('what is no HTTP is told, and not tried again; a cut is a broken line', async (t) => {
  const { line } = await rig(t, ['SSH-2.0-OpenSSH_9.2\r\n', undefined]);
  await assert.rejects(
    () => line.have(ACCESS, IDS, SIGNAL),
    (error: unknown) => !isBrokenLine(error) && code('protocol-failed', /does not speak/)(lineError(error)),
  );
  await assert.rejects(() => line.have(ACCESS, IDS, SIGNAL), isBrokenLine);
});

test('bandwidth limits hold in both directions', async (t) => {
  const big = Buffer.concat([Buffer.of(0, 0, 8, 0), Buffer.alloc(512 * 1024)]);
  const limits = { up: 1024 * 1024, down: 1024 * 1024 };
  const { line } = await rig(t, [ok(Buffer.from('{"records":1}')), ok(big)], limits);
  const started = performance.now();
  await line.put(ACCESS, [big], 1, SIGNAL);
  const between = performance.now();
  await line.get(ACCESS, IDS.subarray(0, 32), { mostBytes: 1 << 20 }, SIGNAL);
  const took = [between - started, performance.now() - between];
  // Half a MiB at 1 MiB/s, of which a quarter of a second may come at once.
  for (const ms of took) assert.ok(ms > 200 && ms < 5000, `${ms} ms`);
});
