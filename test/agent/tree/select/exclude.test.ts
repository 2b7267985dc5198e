// The rules for what is left out: whose pattern has the last word, mistakes, limits, and the way to worker threads.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  EXCLUDE_PRESETS,
  ExcludeRules,
  excludePreset,
  MAX_EXCLUDE_FILE_BYTES,
  MAX_PATTERNS,
} from '../../../../src/agent/tree/select/exclude.ts';
import { type ByteString, fromText } from '../../../../src/util/byte-string.ts';
import { HoldfastError } from '../../../../src/util/errors.ts';

const bytes = (text: string): ByteString => text as ByteString;
const noWarning = (message: string): void => assert.fail(message);
const excludes = (rules: ExcludeRules, path: string, isDirectory = false): boolean =>
  rules.excludes(bytes(path), isDirectory);

/** What of the paths is left out; a slash at the end makes a directory. */
function excluded(rules: ExcludeRules, ...paths: string[]): string[] {
  return paths.filter((path) => excludes(rules, path.replace(/\/$/, ''), path.endsWith('/')));
}

test('without patterns nothing is left out, and the top never is', () => {
  const none = ExcludeRules.compile([]);
  assert.equal(none.isEmpty, true);
  assert.equal(excludes(none, 'a'), false);
  const all = ExcludeRules.compile(['*', '**']);
  assert.equal(all.isEmpty, false);
  assert.equal(excludes(all, ''), false);
  assert.equal(excludes(all, 'a'), true);
  assert.equal(none.within(bytes('a'), bytes('# nothing\n\n'), noWarning).isEmpty, true);
});

test("vzdump's preset leaves out what is in /tmp, and not /tmp", () => {
  const rules = ExcludeRules.compile(excludePreset('vzdump'));
  const paths = ['tmp/', 'tmp/a', 'tmp/.X11-unix/', 'var/tmp/', 'var/tmp/x', 'var/run/sshd.pid', 'var/run/.pid'];
  const others = ['home/tmp/a', 'var/run/sshd/', 'var/run/sub/x.pid', 'run/sshd.pid'];
  assert.deepEqual(excluded(rules, ...paths, ...others), ['tmp/a', 'tmp/.X11-unix/', 'var/tmp/x', 'var/run/sshd.pid']);
});

test('an unknown preset is an error that names those there are', () => {
  for (const name of ['vz', '', 'toString', '__proto__'])
    assert.throws(
      () => excludePreset(name),
      (error: unknown) =>
        error instanceof HoldfastError && error.code === 'bad-argument' && /vzdump/.test(error.message),
    );
  for (const name of Object.keys(EXCLUDE_PRESETS)) ExcludeRules.compile(excludePreset(name));
});

test('a pattern that can match nothing is an error that says why', () => {
  const wrong: readonly [string, RegExp][] = [
    ['', /empty/],
    ['/', /empty/],
    ['!', /empty/],
    ['a//b', /empty/],
    ['a[b', /no \]/],
    ['a[]', /no \]/],
    ['[^/]x', /slash/],
    ['[a-', /no \]/],
    ['[\\', /no \]/],
    ['a\\', /backslash/],
    ['a\\/b', /backslash/],
    ['[[:word:]]', /\[:word:\]/],
    ['a\0b', /zero byte/],
    [`/${'a'.repeat(4096)}`, /4096 bytes/],
  ];
  for (const [pattern, why] of wrong)
    assert.throws(
      () => ExcludeRules.compile(['fine', pattern]),
      (error: unknown) => error instanceof HoldfastError && error.code === 'bad-argument' && why.test(error.message),
      JSON.stringify(pattern),
    );
});

test('patterns of the command line are taken as they are: spaces and # count', () => {
  const rules = ExcludeRules.compile(['#a', 'b ', 'é']);
  assert.deepEqual(excluded(rules, '#a', 'b', 'b ', fromText('é')), ['#a', 'b ', fromText('é')]);
});

test('names are bytes: upper and lower case differ, ? is one byte', () => {
  assert.deepEqual(excluded(ExcludeRules.compile(['*.ISO']), 'a.iso', 'a.ISO'), ['a.ISO']);
  const two = fromText('é');
  assert.equal(excludes(ExcludeRules.compile(['?']), two), false);
  assert.equal(excludes(ExcludeRules.compile(['??']), two), true);
  assert.equal(excludes(ExcludeRules.compile(['[!a]']), '\xff'), true);
});

test('the command line has the last word, then the deepest file, then the last pattern', () => {
  const top = ExcludeRules.compile(['*.secret', '!keep.log']).within(bytes(''), bytes('*.log\n*.tmp\n'), noWarning);
  const inner = top.within(bytes('a/b'), bytes('!x.tmp\n!y.secret\nkeep.log\n/only\nsub/deep\n'), noWarning);
  const names = ['x.tmp', 'z.tmp', 'y.secret', 'keep.log', 'z.log', 'only', 'sub/only', 'sub/deep', 'sub/x.tmp'];
  assert.deepEqual(excluded(inner, ...names.map((name) => `a/b/${name}`)), [
    'a/b/z.tmp',
    'a/b/y.secret',
    'a/b/z.log',
    'a/b/only',
    'a/b/sub/deep',
  ]);
  assert.equal(excludes(top, 'a/b/x.tmp'), true, 'the rules of the directory above stay as they were');
});

test('mistakes in an exclude file exclude nothing, are told with their line, and the other lines hold', () => {
  const warnings: string[] = [];
  const rules = ExcludeRules.compile([]).within(bytes('caf\xc3\xa9'), bytes('a\n[b\n\n c\\\nd\n'), (message) =>
    warnings.push(message),
  );
  assert.deepEqual(excluded(rules, 'caf\xc3\xa9/a', 'caf\xc3\xa9/[b', 'caf\xc3\xa9/d'), [
    'caf\xc3\xa9/a',
    'caf\xc3\xa9/d',
  ]);
  assert.equal(warnings.length, 2);
  assert.match(warnings[0] as string, /^line 2 of café\/\.holdfastexclude excludes nothing/);
  assert.match(warnings[1] as string, /^line 4 of/);
});

test('an exclude file that is too large, or one pattern too much, is not used and told', () => {
  const warnings: string[] = [];
  const warn = (message: string): number => warnings.push(message);
  const none = ExcludeRules.compile(['keep']);
  const fits = bytes('a\n'.padEnd(MAX_EXCLUDE_FILE_BYTES, '\n'));
  assert.equal(excludes(none.within(bytes(''), fits, warn), 'a'), true);
  assert.equal(none.within(bytes(''), bytes(`${fits}\n`), warn), none);
  assert.equal(excludes(none.within(bytes(''), bytes('a\n'.repeat(MAX_PATTERNS - 1)), warn), 'a'), true);
  assert.equal(none.within(bytes('d'), bytes('a\n'.repeat(MAX_PATTERNS)), warn), none);
  assert.equal(warnings.length, 2);
  assert.match(warnings[0] as string, /larger/);
  assert.match(warnings[1] as string, /4096 patterns/);
  const tooMany = Array.from({ length: MAX_PATTERNS + 1 }, () => 'a');
  assert.throws(
    () => ExcludeRules.compile(tooMany),
    (error: unknown) => error instanceof HoldfastError && error.code === 'too-many',
  );
});

test('rules say the same on the other side of a thread', () => {
  const rules = ExcludeRules.compile(['*.o', '!keep.o']).within(
    bytes('a'),
    bytes('/x \n\\ \n[\xe0-\xff]\n'),
    noWarning,
  );
  const other = ExcludeRules.fromJSON(structuredClone(rules.toJSON()));
  const paths = ['a/x', 'x', 'a/b/x', 'a/ ', 'a/\xe9', 'a/\xdf', 'b.o', 'keep.o'];
  assert.deepEqual(excluded(other, ...paths), excluded(rules, ...paths));
  assert.deepEqual(excluded(other, ...paths), ['a/x', 'a/ ', 'a/\xe9', 'b.o']);
  const deeper = other.within(bytes('a/b'), bytes('!*.o\n!\xe9\n'), noWarning);
  assert.deepEqual(excluded(deeper, 'a/b/\xe9', 'a/b/z.o'), ['a/b/z.o'], 'the command line is still the first source');
});

test('patterns made to be slow are not', () => {
  // With backtracking into every star this would not end; the test would hang rather than be slow.
  const name = 'a'.repeat(255);
  assert.equal(excludes(ExcludeRules.compile([`${'*a'.repeat(120)}*b`]), name), false);
  const path = Array.from({ length: 1000 }, () => 'a').join('/');
  assert.equal(excludes(ExcludeRules.compile([`${'**/a/'.repeat(500)}b`]), path), false);
  assert.equal(excludes(ExcludeRules.compile([`${'**/a/'.repeat(500)}a`]), path), true);
});
