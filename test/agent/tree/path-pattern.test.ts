import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compilePattern } from '../../../src/agent/tree/path-pattern.ts';
import type { ByteString } from '../../../src/util/byte-string.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

const matches = (pattern: string, path: string): boolean => compilePattern(pattern as ByteString).test(path);

test('patterns match paths as shells do', () => {
  const yes: [string, string][] = [
    ['*.conf', 'a.conf'],
    ['*.conf', 'etc/x/a.conf'],
    ['etc/*.conf', 'etc/a.conf'],
    ['/a', 'a'],
    ['etc/', 'etc'],
    ['etc/', 'x/etc'],
    ['etc/**', 'etc/a/b'],
    ['etc/**/x', 'etc/x'],
    ['etc/**/x', 'etc/a/b/x'],
    ['**/x', 'x'],
    ['a?c', 'abc'],
    ['[a-c]x', 'bx'],
    ['[!a-c]x', 'dx'],
    ['a\\*b', 'a*b'],
    ['a.b', 'a.b'],
    ['(x)+', '(x)+'],
    ['*', 'with\nnewline'],
    ['\xc3\xa9*', '\xc3\xa9t\xc3\xa9'],
    ['[]]', ']'],
    ['[a', '[a'],
  ];
  for (const [pattern, path] of yes) assert.ok(matches(pattern, path), `${pattern} ${path}`);
  const no: [string, string][] = [
    ['*.conf', 'a.conf.old'],
    ['etc/*.conf', 'x/etc/a.conf'],
    ['etc/*.conf', 'etc/a/b.conf'],
    ['/a', 'b/a'],
    ['a?c', 'a/c'],
    ['[!a]b', '/b'],
    ['a[.-9]b', 'a/b'],
    ['a.b', 'axb'],
    ['a\\*b', 'axb'],
    ['A', 'a'],
    ['etc/**', 'etc'],
    ['[!a-c]x', 'bx'],
  ];
  for (const [pattern, path] of no) assert.ok(!matches(pattern, path), `${pattern} ${path}`);
  assert.throws(
    () => compilePattern('/' as ByteString),
    (error) => error instanceof HoldfastError && error.code === 'bad-argument',
  );
});

test('a class that is none is told, as an error of the catalogue', () => {
  assert.throws(
    () => compilePattern('[z-a]' as ByteString),
    (error) => error instanceof HoldfastError && error.code === 'bad-argument',
  );
});
