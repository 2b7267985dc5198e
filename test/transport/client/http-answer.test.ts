// Answers of HTTP in whatever pieces they come, and what is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HttpAnswer } from '../../../src/transport/client/http-answer.ts';

interface Read {
  readonly status: number;
  readonly body: string;
  readonly isOver: boolean;
  readonly isKept: boolean;
}

function read(pieces: readonly Buffer[], ends = false): Read {
  const answer = new HttpAnswer();
  let body = '';
  for (const piece of pieces)
    answer.give(piece, (part, status) => {
      assert.ok(status >= 200);
      body += Buffer.from(part).toString('latin1');
    });
  if (ends) assert.equal(answer.end(), answer.isOver);
  return { status: answer.status, body, isOver: answer.isOver, isKept: answer.isKept };
}

/** The text in two, three and many pieces. */
function* splits(text: string): Generator<Buffer[]> {
  const bytes = Buffer.from(text, 'latin1');
  yield [bytes];
  yield [...bytes].map((byte) => Buffer.of(byte));
  for (let at = 1; at < bytes.length; at++) {
    yield [bytes.subarray(0, at), bytes.subarray(at)];
    const second = at + Math.floor((bytes.length - at) / 2);
    yield [bytes.subarray(0, at), bytes.subarray(at, second), bytes.subarray(second)];
  }
}

const OK = 'HTTP/1.1 200 OK\r\n';
const GOOD: Record<string, { text: string; ends?: true; wanted: Partial<Read> }> = {
  'a length': { text: `${OK}Content-Length: 5\r\n\r\nhello`, wanted: { body: 'hello' } },
  'no body': { text: `${OK}content-length: 0\r\n\r\n`, wanted: { body: '' } },
  'a status without words and fields': {
    text: 'HTTP/1.1 204\r\nserver: x\r\n\r\n',
    wanted: { status: 204, body: '' },
  },
  'a 304 that names a length': {
    text: 'HTTP/1.1 304 X\r\ncontent-length: 9\r\n\r\n',
    wanted: { status: 304, body: '' },
  },
  chunks: {
    text: `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1 ;x=y\r\n \r\n00A\r\n\r\nworld\r\n!\r\n0\r\n\r\n`,
    wanted: { body: 'hello \r\nworld\r\n!' },
  },
  'chunks with trailers': {
    text: `${OK}transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: y\r\nz: 1\r\n\r\n`,
    wanted: { body: 'a' },
  },
  'lines that end without a return': { text: 'HTTP/1.1 200 OK\ncontent-length: 2\n\nhi', wanted: { body: 'hi' } },
  'something said in between': {
    text: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n${OK}content-length: 1\r\n\r\nx`,
    wanted: { body: 'x' },
  },
  'the same length twice': {
    text: `${OK}content-length: 2\r\ncontent-length:2 \r\n\r\nhi`,
    wanted: { body: 'hi' },
  },
  'a line that is closed afterwards': {
    text: `${OK}connection: x, Close\r\ncontent-length: 2\r\n\r\nhi`,
    wanted: { body: 'hi', isKept: false },
  },
  'more than was asked for': { text: `${OK}content-length: 2\r\n\r\nhi!`, wanted: { body: 'hi', isKept: false } },
  'the page of a proxy of old': {
    text: 'HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/html\r\n\r\n<html></html>\n',
    ends: true,
    wanted: { status: 503, body: '<html></html>\n', isKept: false },
  },
};
for (const [what, { text, ends, wanted }] of Object.entries(GOOD)) {
  test(`an answer with ${what}, in pieces of any size`, () => {
    const full = { status: 200, isOver: true, isKept: true, ...wanted };
    for (const pieces of splits(text)) assert.deepEqual(read(pieces, ends), full);
  });
}

test('an answer that has not ended is a break when the line ends', () => {
  for (const text of [
    '',
    'HTTP/1.1 200',
    `${OK}content-le`,
    `${OK}content-length: 3\r\n\r\nhi`,
    `${OK}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n`,
    `${OK}transfer-encoding: chunked\r\n\r\n0\r\n`,
  ])
    assert.equal(read([Buffer.from(text)], true).isOver, false, JSON.stringify(text));
});

const BAD: Record<string, string> = {
  'another protocol': 'SSH-2.0-OpenSSH_9.2\r\n',
  'another protocol without end': 'x'.repeat(100),
  'a status of four digits': 'HTTP/1.1 2000 OK\r\n',
  'a status that is none': 'HTTP/1.1 099 X\r\n',
  'HTTP of another century': 'HTTP/2.0 200 OK\r\n',
  'another protocol from here on': 'HTTP/1.1 101 X\r\nupgrade: x\r\n\r\n',
  'a field without a name': `${OK}: x\r\n`,
  'a field that goes on in the next line': `${OK}a: b\r\n c\r\n`,
  'a length that is none': `${OK}content-length: -1\r\n`,
  'a length in hex': `${OK}content-length: 0x10\r\n`,
  'two lengths': `${OK}content-length: 1\r\ncontent-length: 2\r\n`,
  'a length and chunks': `${OK}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`,
  compression: `${OK}transfer-encoding: gzip, chunked\r\n`,
  'chunks in chunks': `${OK}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n`,
  'a chunk without length': `${OK}transfer-encoding: chunked\r\n\r\n\r\n`,
  'a chunk of a negative length': `${OK}transfer-encoding: chunked\r\n\r\n-1\r\n`,
  'a chunk longer than can be': `${OK}transfer-encoding: chunked\r\n\r\n100000000\r\n`,
  'a chunk longer than it says': `${OK}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n`,
  'a header without end': `${OK}${'a: b\r\n'.repeat(20_000)}`,
  'a line without end': `${OK}a: ${'b'.repeat(100_000)}`,
};
for (const [what, text] of Object.entries(BAD)) {
  test(`${what} is no answer`, () => {
    const failure = {
      code: 'protocol-failed',
      message: /^what answered does not speak HTTP over TLS: .*; look at host/,
    };
    assert.throws(() => read([Buffer.from(text)]), failure);
    const pieces = Array.from({ length: Math.ceil(text.length / 7) }, (_, at) => text.slice(at * 7, at * 7 + 7));
    assert.throws(() => read(pieces.map((piece) => Buffer.from(piece))), failure);
  });
}

test('the framing of many chunks may be long', () => {
  const chunks = 'b\r\nhello world\r\n'.repeat(30_000);
  const { body, isOver } = read([Buffer.from(`${OK}transfer-encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`)]);
  assert.equal(body.length, 330_000);
  assert.ok(isOver);
});
