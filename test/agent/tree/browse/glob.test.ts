import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileGlob } from '../../../../src/agent/tree/browse/glob.ts';

const CASES: readonly (readonly [pattern: string, yes: readonly string[], no: readonly string[]])[] = [
  ['', [''], ['a']],
  ['*', ['', 'a', 'a/b'], []],
  ['*.conf', ['.conf', 'a.conf', 'a.conf.conf'], ['a.conf.', 'aconf']],
  ['a*b*c', ['abc', 'aXbXbc', 'abcbc'], ['acb', 'abcd']],
  ['?', ['a', 'é', '😀'], ['', 'ab']],
  ['[a-c]x', ['ax', 'cx'], ['dx', 'x', '-x']],
  ['[!a-c]x', ['dx', '-x'], ['ax', 'x']],
  ['[^a]', ['b'], ['a']],
  ['[]a]', [']', 'a'], ['[']],
  ['[a-]', ['a', '-'], ['b']],
  ['[a', ['[a'], ['a']],
  ['\\*', ['*'], ['a', '\\*']],
  ['[\\]]', [']'], ['\\']],
  ['a\\', ['a\\'], ['a']],
  ['A', ['A'], ['a']],
];

test('patterns as the shell has them', () => {
  for (const [pattern, yes, no] of CASES) {
    const matches = compileGlob(pattern);
    for (const name of yes) assert.ok(matches(name), `${pattern} takes ${name}`);
    for (const name of no) assert.ok(!matches(name), `${pattern} does not take ${name}`);
  }
});

test('a pattern of many stars ends', () => {
  assert.equal(compileGlob(`${'*a'.repeat(1000)}b`)('a'.repeat(4000)), false);
});

test('a pattern without end is refused', () => {
  assert.throws(() => compileGlob('?'.repeat(4097)), { code: 'bad-argument' });
});
