// Requests of HTTP in whatever pieces they come, and what is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HttpRequest } from '../../../src/transport/server/http-request.ts';

/** What was read of the text in pieces of that many bytes. */
function read(text: string, pieceBytes: number) {
  const request = new HttpRequest();
  const bytes = Buffer.from(text, 'latin1');
  let body = '';
  let taken = 0;
  for (let at = 0; at < bytes.length; at += pieceBytes)
    taken += request.give(bytes.subarray(at, at + pieceBytes), (part) => {
      assert.ok(request.hasHead);
      body += Buffer.from(part).toString('latin1');
    });
  const { method, target, authorization, announcedBytes, wantsContinue, isOver, isKept } = request;
  return { method, target, authorization, announcedBytes, wantsContinue, isOver, isKept, body, taken };
}

const POST = 'POST /v1/x/put HTTP/1.1\r\nHost: a\r\n';
const GOOD: Record<string, { text: string; wanted: Partial<ReturnType<typeof read>> }> = {
  'a length': {
    text: `${POST}Authorization:  Bearer x \r\ncontent-length: 2\r\n\r\nhi`,
    wanted: { authorization: 'Bearer x', announcedBytes: 2, body: 'hi' },
  },
  'no body': { text: `${POST}\r\n`, wanted: { announcedBytes: 0 } },
  chunks: {
    text: `${POST}transfer-encoding: Chunked\r\n\r\n2\r\nhi\r\n3;x\r\n \r\n\r\n0\r\n\r\n`,
    wanted: { announcedBytes: undefined, body: 'hi \r\n' },
  },
  'an empty line before it': {
    text: `\r\n${POST}content-length: 1\r\n\r\nx`,
    wanted: { announcedBytes: 1, body: 'x' },
  },
  'a wish to be told to send': {
    text: `${POST}Expect: 100-Continue\r\ncontent-length: 1\r\n\r\nx`,
    wanted: { wantsContinue: true, announcedBytes: 1, body: 'x' },
  },
  'a line that is closed afterwards': { text: `${POST}Connection: close\r\n\r\n`, wanted: { isKept: false } },
  'a version of old, without a host': {
    text: 'GET / HTTP/1.0\r\n\r\n',
    wanted: { method: 'GET', target: '/', isKept: false },
  },
};
for (const [what, { text, wanted }] of Object.entries(GOOD))
  test(`a request with ${what}, in pieces of any size`, () => {
    const full = {
      ...{ method: 'POST', target: '/v1/x/put', authorization: undefined, announcedBytes: 0, wantsContinue: false },
      ...{ isOver: true, isKept: true, body: '', taken: text.length },
      ...wanted,
    };
    for (let pieceBytes = 1; pieceBytes <= text.length; pieceBytes++) assert.deepEqual(read(text, pieceBytes), full);
  });

test('what comes behind a request is not taken', () => {
  const request = new HttpRequest();
  const text = `${POST}content-length: 2\r\n\r\nhi`;
  assert.equal(
    request.give(Buffer.from(`${text}POST`), () => {}),
    text.length,
  );
  assert.ok(request.isOver);
});

const BAD: Record<string, string> = {
  'another protocol': '\x16\x03\x01',
  'another protocol with a line': 'SSH-2.0-x\r\n',
  'HTTP of another century': 'PRI * HTTP/2.0\r\n\r\n',
  'a target with a space': 'POST /a b HTTP/1.1\r\n',
  'a method in lower case': 'post / HTTP/1.1\r\n',
  'no host': 'POST / HTTP/1.1\r\n\r\n',
  'two hosts': `${POST}host: b\r\n\r\n`,
  'a field that goes on in the next line': `${POST}a: b\r\n c\r\n`,
  'a field with a space behind its name': `${POST}content-length : 3\r\n\r\n`,
  'a length and chunks': `${POST}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n`,
  'two lengths': `${POST}content-length: 3\r\ncontent-length: 4\r\n\r\n`,
  'a list of lengths': `${POST}content-length: 3, 3\r\n\r\n`,
  'chunks in HTTP/1.0': 'POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n',
  'a body in an encoding that is not known': `${POST}transfer-encoding: gzip\r\n\r\n`,
  'a chunk longer than it says': `${POST}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n`,
  'a header over 8 KiB': `${POST}${'a: b\r\n'.repeat(1400)}`,
  'a field over 8 KiB': `${POST}a: ${'b'.repeat(8200)}`,
  'empty lines without end': '\r\n'.repeat(4200),
  'trailers without end': `${POST}transfer-encoding: chunked\r\n\r\n0\r\n${'a: b\r\n'.repeat(1400)}`,
};
for (const [what, text] of Object.entries(BAD))
  test(`${what} is no request`, () => {
    for (const pieceBytes of [7, 1000, text.length])
      assert.throws(() => read(text, pieceBytes), { message: /^no request of HTTP/ });
  });
