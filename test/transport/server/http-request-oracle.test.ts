// Requests with random damage, read by Node's own server too: what both take means the same to both, and in whatever pieces it comes.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { createServer } from 'node:http';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { HttpRequest } from '../../../src/transport/server/http-request.ts';
import { randomNumbers } from '../../support/power-cut/crash-points.ts';

interface Meant {
  readonly method: string;
  readonly target: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

const SECONDS = Number(process.env.HOLDFAST_FUZZ_SECONDS ?? 3);
const SEED = Number(process.env.HOLDFAST_FUZZ_SEED ?? randomInt(2 ** 31));
const REQUESTS = [
  'POST /v1/a/put HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nContent-Length: 12\r\n\r\nhello\r\nworld',
  'POST /v1/a/have HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nx: y\r\n\r\n',
  'GET / HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc',
];
const BITS = [
  '\r\n',
  '\n',
  '\r',
  ' ',
  '\t',
  ':',
  '0',
  '1',
  'f',
  ';',
  ',',
  '\0',
  'Content-Length: 3\r\n',
  'chunked',
  'Host: b\r\n',
  '-',
];

/** What we make of it; undefined when it is refused, or not whole. */
function ours(bytes: Buffer, pieceBytes: number): Meant | undefined {
  const request = new HttpRequest();
  let body = '';
  try {
    for (let at = 0; at < bytes.length && !request.isOver; at += pieceBytes)
      request.give(bytes.subarray(at, at + pieceBytes), (part) => {
        body += Buffer.from(part).toString('latin1');
      });
  } catch (error) {
    assert.match((error as Error).message, /^no request of HTTP/);
    return undefined;
  }
  const { method, target, authorization, isOver } = request;
  return isOver ? { method, target, authorization, body } : undefined;
}

/** What Node makes of it. */
async function nodes(bytes: Buffer): Promise<Meant | undefined> {
  let meant: Meant | undefined;
  const server = createServer((request) => {
    const parts: Buffer[] = [];
    request.on('error', () => {});
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      meant ??= {
        method,
        target: url,
        authorization: headers.authorization,
        body: Buffer.concat(parts).toString('latin1'),
      };
    });
  });
  server.on('clientError', () => {});
  const line = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  line.on('error', () => {});
  server.emit('connection', line);
  line.push(bytes);
  for (let turns = 0; turns < 4; turns++) await setImmediate();
  line.destroy();
  return meant;
}

test(`damaged requests mean what they mean to Node, seed ${SEED}`, async () => {
  const random = randomNumbers(SEED);
  const pick = (count: number): number => Math.floor(random() * count);
  let both = 0;
  const endMs = performance.now() + SECONDS * 1000;
  let runs = 0;
  for (; runs < 1000 || performance.now() < endMs; runs++) {
    let text = REQUESTS[pick(REQUESTS.length)] as string;
    for (let damages = pick(3); damages >= 0; damages--) {
      const at = pick(text.length);
      text = text.slice(0, at) + BITS[pick(BITS.length)] + text.slice(at + pick(3));
    }
    const bytes = Buffer.from(text, 'latin1');
    const meant = ours(bytes, bytes.length);
    for (const pieceBytes of [1, 2 + pick(20)]) assert.deepEqual(ours(bytes, pieceBytes), meant, JSON.stringify(text));
    if (meant === undefined) continue;
    const other = await nodes(bytes);
    if (other === undefined) continue;
    both++;
    assert.deepEqual(meant, other, JSON.stringify(text));
  }
  assert.ok(both > runs / 20, `${both} of ${runs} taken by both`);
});
