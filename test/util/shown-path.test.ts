import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseTreePath } from '../../src/cli/tree-path.ts';
import { type ByteString, fromBytes, fromText } from '../../src/util/byte-string.ts';
import { jsonPath, shownPath } from '../../src/util/shown-path.ts';

test('text stays text; what is no text, steers a terminal or hides is escaped, and a backslash doubled', () => {
  assert.equal(shownPath(fromText('etc/grün 😀')), 'etc/grün 😀');
  assert.equal(shownPath('caf\xe9\n' as ByteString), 'caf\\xe9\\x0a');
  assert.equal(shownPath(fromText('a\nb\x1b[31m\u0085\u202e')), 'a\\x0ab\\x1b[31m\\xc2\\x85\\xe2\\x80\\xae');
  assert.equal(shownPath(fromText('a\\x41')), 'a\\\\x41');
});

test('a path that is typed: slashes and dots that mean nothing, bytes, backslashes', () => {
  assert.equal(parseTreePath('/etc//./passwd/'), 'etc/passwd');
  assert.equal(parseTreePath('/'), '');
  assert.equal(parseTreePath('a\\xff\\\\b\\z'), 'a\xff\\b\\z');
  assert.equal(parseTreePath('ü'), '\xc3\xbc');
});

test('any name that is shown can be typed, is one line, and its JSON has all bytes', () => {
  const name = fc.uint8Array({ min: 1, max: 255, minLength: 1, maxLength: 20 }).filter((bytes) => !bytes.includes(47));
  fc.assert(
    fc.property(name, (bytes) => {
      const path = fromBytes(Buffer.from(bytes));
      const shown = shownPath(path);
      assert.equal(parseTreePath(shown), path === '.' ? '' : path);
      assert.doesNotMatch(shown, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      const json = JSON.parse(JSON.stringify(jsonPath('path', path))) as { path: string; pathBytes?: string };
      const back = json.pathBytes === undefined ? Buffer.from(json.path) : Buffer.from(json.pathBytes, 'base64');
      assert.deepEqual(back, Buffer.from(bytes));
    }),
    { numRuns: 1000 },
  );
});
