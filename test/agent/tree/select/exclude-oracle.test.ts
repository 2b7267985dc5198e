// What is left out of a tree, against git: `git ls-files` with the same patterns on its command line and in the same files must list the
// same files. Names have bytes that are no UTF-8, and those that a regular expression or a text function would take for something else.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { EXCLUDE_FILE, ExcludeRules } from '../../../../src/agent/tree/select/exclude.ts';
import { BadPattern, parsePattern } from '../../../../src/agent/tree/select/path-pattern.ts';
import { type ByteString, below, fromBytes, toBytes } from '../../../../src/util/byte-string.ts';

// \xa0 is white space, \xe9 a letter and \x85 a line end to functions for text; here they are bytes.
const NAMES = [
  'a',
  'b',
  'ab',
  'aab',
  'A',
  'a.b',
  '.a',
  'a b',
  'a ',
  '\xe9',
  '\xff\xa0',
  '#a',
  '!a',
  'a-b',
  '-',
  '[a]',
  'a\\b',
];
const DIRECTORIES = ['a', 'b', 'ab', '\xe9', 'a '];

const top = mkdtempSync(join(tmpdir(), 'holdfast-exclude-'));
after(() => rmSync(top, { recursive: true, force: true }));

/** A path below the top, as the bytes that it is. */
function at(path: string): Buffer {
  return Buffer.concat([Buffer.from(`${top}/`), toBytes(path as ByteString)]);
}

const directories = [''];
for (const first of DIRECTORIES) {
  directories.push(first);
  for (const second of DIRECTORIES) directories.push(`${first}/${second}`);
}
execFileSync('git', ['init', '-q', top]);
for (const directory of directories) {
  mkdirSync(at(directory), { recursive: true });
  const isLast = directory.split('/').length === 2;
  const names = NAMES.filter((name) => isLast || !DIRECTORIES.includes(name));
  for (const name of names) writeFileSync(at(below(directory as ByteString, name as ByteString)), '');
}

function kept(rules: ExcludeRules, directory = '' as ByteString): ByteString[] {
  const entries = readdirSync(at(directory), { withFileTypes: true, encoding: 'buffer' });
  let inside = rules;
  if (entries.some(({ name }) => fromBytes(name) === EXCLUDE_FILE))
    inside = rules.within(directory, fromBytes(readFileSync(at(below(directory, EXCLUDE_FILE)))), () => undefined);
  return entries.flatMap((entry) => {
    const path = below(directory, fromBytes(entry.name));
    if (path === '.git' || inside.excludes(path, entry.isDirectory())) return [];
    return entry.isDirectory() ? kept(inside, path) : [path];
  });
}

function keptByGit(patterns: readonly string[]): ByteString[] {
  const options = patterns.map((pattern) => `--exclude=${pattern}`);
  const argv = ['ls-files', '--others', '-z', `--exclude-per-directory=${EXCLUDE_FILE}`, ...options];
  return fromBytes(execFileSync('git', argv, { cwd: top }))
    .split('\0')
    .filter(Boolean) as ByteString[];
}

const piece = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom('a', 'b', 'A', 'ab', '.', '-', ' ', '\xe9', '\xff', '\xa0') },
  { weight: 4, arbitrary: fc.constantFrom('*', '?', '**', '*b', '?*') },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      ...['[ab]', '[!a]', '[^b]', '[a-c]', '[]a]', '[[]', '[!]]', '[a\\-c]', '[[:alpha:]]', '[![:lower:]]', '[b-]'],
      ...['[[:al]', '[\\]]', '[a-\\c]', '[\xe0-\xef]', '[c-a]', '[-a]', '[a-b-c]', '[a-b-d]', '[[:upper:][:punct:]]'],
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom('\\*', '\\a', '\\ ', '\\\\', '\\[', '\\!', '\\#', '#', '!') },
);
const part = fc.oneof(
  { weight: 4, arbitrary: fc.array(piece, { minLength: 1, maxLength: 3 }).map((pieces) => pieces.join('')) },
  { weight: 2, arbitrary: fc.constantFrom('**', '*', 'a', 'b') },
);
const pattern = fc
  .tuple(
    fc.constantFrom('', '', '', '!'),
    fc.constantFrom('', '', '/', '**/'),
    fc.array(part, { minLength: 1, maxLength: 3 }),
    fc.constantFrom('', '', '/', '/**', ' ', '  '),
  )
  .map(([negation, start, parts, end]) => `${negation}${start}${parts.join('/')}${end}`)
  // git cuts the literal start off a pattern and takes the ** in a**/b for a component of its own; gitignore(5) and we do not.
  .filter((text) => !/[^/*]\*{2,}/.test(text));

/** Here a pattern that can never match is an error. */
function isPattern(text: string): boolean {
  try {
    parsePattern(text as ByteString);
    return true;
  } catch (error) {
    assert.ok(error instanceof BadPattern);
    return false;
  }
}

test('patterns of the command line and of files in the tree keep what git keeps', () => {
  // Arguments of programs are text.
  const argument = pattern.filter((line) => isPattern(line) && !/[\x80-\xff]/.test(line));
  const file = fc.record({
    directory: fc.constantFrom(...directories.filter((each) => each.split('/').length < 3)),
    lines: fc.array(fc.oneof({ weight: 9, arbitrary: pattern }, fc.constantFrom('', '# a', '  ')), { maxLength: 4 }),
    end: fc.constantFrom('\n', '\r\n'),
    start: fc.constantFrom('', '\xef\xbb\xbf'),
  });
  let left = 0;
  fc.assert(
    fc.property(fc.array(argument, { maxLength: 3 }), fc.array(file, { maxLength: 3 }), (patterns, files) => {
      const written = new Set<string>();
      try {
        for (const { directory, lines, end, start } of files) {
          const path = below(directory as ByteString, EXCLUDE_FILE);
          writeFileSync(at(path), toBytes(`${start}${lines.join(end)}${end}` as ByteString));
          written.add(path);
        }
        const ours = kept(ExcludeRules.compile(patterns));
        assert.deepEqual(ours.sort(), keptByGit(patterns).sort());
        left += ours.length;
      } finally {
        for (const path of written) rmSync(at(path));
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(left > 1000, 'the patterns leave enough to compare');
});
