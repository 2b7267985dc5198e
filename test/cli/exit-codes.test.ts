import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ERROR_CODES, type ErrorCode, EXIT_BUG, exitCodeOf, HoldfastError } from '../../src/util/errors.ts';

const manual = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');

test('the manual has every error code, with its family and exit code, and no other', () => {
  const rows = [...manual.matchAll(/^\| (\d+) \| `([a-z-]+)` \| (caller|world) \| (.+) \|$/gm)].map(
    ([, exit, code, family, text]) => {
      assert.ok(text.length > 20, `${code} says what to do`);
      return [code, [family, Number(exit)]];
    },
  );
  assert.deepEqual(Object.fromEntries(rows), ERROR_CODES);
  assert.equal(rows.length, Object.keys(ERROR_CODES).length, 'no code stands twice');
});

test('the manual has the exit codes that belong to no error of the catalogue', () => {
  assert.match(manual, /^\| 0 \| /m);
  assert.match(manual, new RegExp(`^\\| ${EXIT_BUG} \\| `, 'm'));
});

test('exit codes are different from each other, and leave those of shells and signals alone', () => {
  const codes = Object.values(ERROR_CODES).map(([, exit]) => exit);
  // Usage, a bad name and a bad change map are one mistake to a script: the command line is wrong.
  const usage = (['bad-argument', 'bad-name', 'bad-change-map'] as const).map((code) => ERROR_CODES[code][1]);
  assert.deepEqual(usage, [2, 2, 2]);
  assert.equal(new Set(codes).size, codes.length - 2);
  for (const [code, [, exit]] of Object.entries(ERROR_CODES)) {
    assert.ok(code === 'aborted' ? exit === 130 : exit >= 2 && exit < 64, code);
  }
});

test('an error of ours ends with its code, anything else as a bug', () => {
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    assert.equal(exitCodeOf(new HoldfastError(code, 'x')), ERROR_CODES[code][1]);
  }
  for (const other of [new Error('x'), new TypeError('x'), 'x', undefined, null, { code: 'not-found' }])
    assert.equal(exitCodeOf(other), EXIT_BUG);
});

test('the manual names the limits as the sources have them', () => {
  const source = (path: string): string => readFileSync(new URL(`../../src/${path}`, import.meta.url), 'utf8');
  const limits: [path: string, inSource: RegExp, inManual: string][] = [
    ['schema/names.ts', /MAX_NAME_BYTES = 128;/, '| 128 bytes of '],
    ['schema/names.ts', /MAX_NAMESPACE_DEPTH = 7;/, '| 7 parts, 256 bytes |'],
    ['schema/manifest.ts', /Type\.Array\(Archive, \{ maxItems: 1024 \}\)/, '| 1,024, at most one'],
    ['cli/commands/backup.ts', /MAX_ARCHIVES = 1024;/, '| 1,024, at most one'],
    ['schema/manifest.ts', /notes: Type\.String\(\{ maxLength: 65536 \}\)/, '| 65,536 characters |'],
    ['cli/note.ts', /MAX_NOTE_LENGTH = 65_536;/, '| 65,536 characters |'],
    ['chunker/object.ts', /MAX_OBJECT_BYTES = 16 \* 1024 \* 1024 \+ 64 \* 1024;/, '| 16 MiB + 64 KiB |'],
    ['agent/backup/change-map.ts', /MAX_FILE_BYTES = 512 \* 1024 \* 1024;/, '| 512 MiB |'],
    ['datastore/index/index-tables.ts', /MAX_ENTRIES = 1 << 27;/, '| 2^27 copies'],
    ['datastore/packs/pack-table.ts', /MAX_PACKS = 1 << 18;/, '| 262,144: '],
    [
      'datastore/packs/write-buffers.ts',
      /count: 2,.*\s.*count: 14,.*\s.*count: 240,/,
      '| 256, two for each session | `too-many`',
    ],
    ['datastore/sessions/session-files.ts', /UNFINISHED_LIFETIME_MS = 7 \* 24/, 'kept for 7 days of store clock'],
    ['agent/sources/image-server.ts', /START_TIMEOUT_MS = 30_000;/, '| 30 s; 64 connections |'],
    [
      'datastore/snapshots/retention-lock.ts',
      /DEFAULT_MAX_LOCK_MS = 365 \*/,
      '| `--max-lock` of the datastore, 365 days',
    ],
    ['util/duration.ts', /MAX_DURATION_MS = 1000 \* 365/, '1,000 years at most'],
    ['cli/keep-options.ts', /MAX_COUNT = 1_000_000;/, '| a keep rule | 0 to 1,000,000 |'],
    ['datastore/prune/simulate.ts', /MAX_SIMULATED = 20_000;/, '| backups of a simulation, and prunes | 20,000 each |'],
    ['datastore/prune/simulate.ts', /MAX_LOOKED_AT = 10_000_000;/, 'look at together | 10,000,000 |'],
    ['daemon/jobs/prune-kind.ts', /MAX_GROUPS = 1000;/, '| groups of a prune job, named or left out | 1,000 |'],
    ['datastore/prune/prune-operation.ts', /MAX_SNAPSHOTS_A_REQUEST = 5000;/, '| 5,000; a larger plan'],
    ['cli/repository.ts', /MAX_WORKERS = 64;/, '| threads | 1 to 64 |'],
  ];
  for (const [path, inSource, inManual] of limits) {
    assert.match(source(path), inSource, `${path} changed: change the manual too`);
    assert.ok(manual.includes(inManual), inManual);
  }
});

test('the manual names every variable of the environment that the sources look at', () => {
  const names = new Set<string>();
  const root = new URL('../../src/', import.meta.url);
  for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    for (const [, name] of readFileSync(new URL(file, root), 'utf8').matchAll(/process\.env(?:\.|\[')([A-Z_]+)/g))
      names.add(name);
  }
  assert.ok(names.has('HOLDFAST_REPOSITORY'));
  for (const name of names) assert.ok(manual.includes(`\`${name}\``), name);
});
