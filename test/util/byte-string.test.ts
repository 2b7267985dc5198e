// Names as bytes: nothing is lost between a name on disk, a string and what people read, and strings sort as bytes do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ByteString, below, display, EMPTY, fromBytes, fromText, toBytes } from '../../src/util/byte-string.ts';

const bytes = fc.uint8Array({ min: 1, max: 255, maxLength: 40 }).map((each) => Buffer.from(each));

test('bytes come back as they were, one character each', () => {
  fc.assert(
    fc.property(bytes, (given) => {
      const name = fromBytes(given);
      assert.equal(name.length, given.length);
      assert.deepEqual(toBytes(name), given);
    }),
  );
});

test('a part of a larger buffer is read at its place', () => {
  const buffer = new Uint8Array(Buffer.from('xxabcdyy')).subarray(2);
  assert.equal(fromBytes(buffer, 1, 3), 'bc');
  assert.equal(fromBytes(buffer.subarray(0, 4)), 'abcd');
});

test('strings sort as their bytes', () => {
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      const order = fromBytes(a) < fromBytes(b) ? -1 : fromBytes(a) > fromBytes(b) ? 1 : 0;
      assert.equal(order, Buffer.compare(a, b));
    }),
  );
});

test('text becomes UTF-8 and is displayed as it was typed', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }).filter((text) => Buffer.from(text).toString() === text),
      (text) => {
        assert.deepEqual(toBytes(fromText(text)), Buffer.from(text, 'utf8'));
        assert.equal(display(fromText(text)), text);
      },
    ),
  );
});

test('what is no UTF-8 is displayed byte by byte', () => {
  assert.equal(display('caf\xe9' as ByteString), 'caf\\xe9');
  assert.equal(display('\xc3\xa9\xff' as ByteString), '\\xc3\\xa9\\xff');
  assert.equal(display('\xed\xa0\x80' as ByteString), '\\xed\\xa0\\x80', 'half of a surrogate pair is none');
});

test('a path below the top has no slash at its start', () => {
  assert.equal(below(EMPTY, 'a' as ByteString), 'a');
  assert.equal(below('a/b' as ByteString, 'c' as ByteString), 'a/b/c');
});
