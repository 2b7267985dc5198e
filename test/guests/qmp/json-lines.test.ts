// However the bytes of a connection were split, the same messages come out, and no line takes more than its bound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JsonLines, type JsonLinesOptions } from '../../../src/guests/qmp/json-lines.ts';

function readAll(pieces: readonly Uint8Array[], options?: JsonLinesOptions): unknown[] {
  const lines = new JsonLines(options);
  return pieces.flatMap((piece) => lines.push(piece));
}

function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

test('any split of the bytes into reads gives the same messages', () => {
  const value = fc.jsonValue({ stringUnit: 'binary' });
  const ending = fc.constantFrom('\n', '\r\n', '\n\n');
  fc.assert(
    fc.property(fc.array(fc.tuple(value, ending)), fc.array(fc.nat()), (said, cuts) => {
      const bytes = Buffer.from(said.map(([each, end]) => JSON.stringify(each) + end).join(''));
      const expected = said.map(([each]) => JSON.parse(JSON.stringify(each)));
      assert.deepEqual(readAll(split(bytes, cuts)), expected);
      assert.deepEqual(readAll([...bytes].map((byte) => Uint8Array.of(byte))), expected);
    }),
    { numRuns: 40 },
  );
});

test('what stands before a 0xFF of its line is void, wherever the bytes were split', () => {
  const rest = fc.array(fc.uint8Array({ maxLength: 8 }).map((bytes) => bytes.filter((byte) => byte !== 0x0a)));
  fc.assert(
    fc.property(rest, fc.jsonValue(), fc.array(fc.nat()), (stale, value, cuts) => {
      const parts = [
        ...stale.flatMap((each) => [each, Uint8Array.of(0xff)]),
        Buffer.from(`${JSON.stringify(value)}\n1\n`),
      ];
      assert.deepEqual(readAll(split(Buffer.concat(parts), cuts), { resync: true }), [
        JSON.parse(JSON.stringify(value)),
        1,
      ]);
    }),
  );
});

test('a line has a bound, and the lines before it count for nothing', () => {
  const options = { maxLineBytes: 10 };
  assert.deepEqual(readAll([Buffer.from('"12345678"\n"12345678"\n"1234')], options), ['12345678', '12345678']);
  assert.throws(() => readAll([Buffer.from('"123456789"\n')], options), { code: 'guest-failed', message: /10 bytes/ });
  const lines = new JsonLines(options);
  lines.push(Buffer.from('"123456789'));
  assert.throws(() => lines.push(Buffer.from('0')), { code: 'guest-failed' });
});

test('a line of 8 MiB in small pieces takes no longer than its bytes', () => {
  const text = 'x'.repeat(8 << 20);
  const bytes = Buffer.from(`"${text}"\n`);
  const lines = new JsonLines();
  const started = process.cpuUsage().user;
  let found: unknown[] = [];
  for (let at = 0; at < bytes.length; at += 512) found = [...found, ...lines.push(bytes.subarray(at, at + 512))];
  assert.equal((found[0] as string).length, text.length);
  assert.ok(process.cpuUsage().user - started < 2_000_000);
});

test('a line that is not JSON ends the stream, or is handed over where somebody asks for it', () => {
  assert.throws(() => readAll([Buffer.from('1\nlogin:\n2\n')]), { code: 'guest-failed', message: /login:/ });
  const garbage: string[] = [];
  const onGarbage = (line: string) => garbage.push(line);
  assert.deepEqual(readAll([Buffer.from('1\nlogin:\n2\n')], { onGarbage }), [1, 2]);
  assert.deepEqual(garbage, ['login:']);
});
