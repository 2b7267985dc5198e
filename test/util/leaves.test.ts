// The leaves that touch nothing: arena, errors, JSON.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { Type } from 'typebox';
import { Arena } from '../../src/util/arena.ts';
import { canonicalJson } from '../../src/util/canonical-json.ts';
import { ERROR_CODES, EXIT_BUG, exitCodeOf, HoldfastError, systemCode } from '../../src/util/errors.ts';
import { JsonShapeError, parseJson } from '../../src/util/json-file.ts';

test('areas of an arena are aligned, apart, zero, and views of one memory', () => {
  const arena = new Arena(65536 * 4, 65536);
  const areas = [1, 4096, 4097, 100].map((size) => ({ size, ...arena.allocate(size) }));
  let end = 65536;
  for (const { size, pointer, bytes } of areas) {
    assert.equal(pointer % 4096, 0);
    assert.ok(pointer >= end, 'overlaps the one before, or what is reserved');
    assert.equal(bytes.length, size);
    assert.ok(bytes.every((byte) => byte === 0));
    end = pointer + size;
    bytes.fill(9);
    assert.equal(arena.bytes[pointer], 9);
    assert.equal(new Uint8Array(arena.memory.buffer)[pointer + size - 1], 9);
  }
  assert.throws(() => arena.allocate(65536 * 4), /too small/);
  arena.allocate(65536 * 3 - 4096 * 5);
  assert.throws(() => arena.allocate(1), /too small/);
  assert.equal(arena.memory.buffer.byteLength, 65536 * 4, 'it never grows');
});

test('every code has a family and an exit code of its own', () => {
  const codes = Object.entries(ERROR_CODES);
  const byExit = new Map<number, string[]>();
  for (const [code, [family, exit]] of codes) {
    assert.ok(family === 'caller' || family === 'world');
    assert.ok(Number.isInteger(exit) && exit > 1 && exit < 256 && exit !== Number(EXIT_BUG));
    byExit.set(exit, [...(byExit.get(exit) ?? []), code]);
    assert.equal(exitCodeOf(new HoldfastError(code as keyof typeof ERROR_CODES, 'x')), exit);
    assert.equal(new HoldfastError(code as keyof typeof ERROR_CODES, 'x').family, family);
  }
  assert.deepEqual(
    [...byExit.values()].filter((sharing) => sharing.length > 1),
    [['bad-argument', 'bad-name', 'bad-change-map']],
  );
  for (const bug of [new Error('x'), undefined, 'text', { code: 'not-found' }]) assert.equal(exitCodeOf(bug), EXIT_BUG);
});

test('every code is raised somewhere: a catalogue lists what there is', () => {
  const files = (readdirSync(new URL('../../src', import.meta.url), { recursive: true }) as string[]).filter(
    (name) => name.endsWith('.ts') && name !== 'util/errors.ts',
  );
  const text = files.map((name) => readFileSync(new URL(`../../src/${name}`, import.meta.url), 'utf8')).join('\n');
  assert.deepEqual(
    Object.keys(ERROR_CODES).filter((code) => !text.includes(`'${code}'`)),
    [],
  );
});

test('an error keeps message, cause and data', () => {
  const cause = new Error('below');
  const error = new HoldfastError('disk-full', 'no room', { cause, data: { path: '/x' } });
  assert.equal(error.name, 'HoldfastError');
  assert.equal(error.cause, cause);
  assert.deepEqual(error.data, { path: '/x' });
  const plain = new HoldfastError('aborted', 'stopped');
  assert.deepEqual(plain.data, {});
  assert.ok(!('cause' in plain));
});

test('codes of the system are told from ours, and from anything else', () => {
  assert.equal(systemCode(Object.assign(new Error('x'), { code: 'ENOSPC' })), 'ENOSPC');
  for (const other of [
    new HoldfastError('exists', 'x'),
    new Error('x'),
    null,
    undefined,
    'ENOENT',
    { code: 5 },
    { code: 'ERR_INVALID_ARG' },
    { code: 'SQLITE_BUSY' },
  ]) {
    assert.equal(systemCode(other), undefined);
  }
});

test('JSON is parsed and checked, and a refusal names the place', () => {
  const schema = Type.Object({ name: Type.String(), list: Type.Array(Type.Object({ n: Type.Integer() })) });
  assert.deepEqual(parseJson('{"name":"a","list":[{"n":1}],"more":true}', schema), {
    name: 'a',
    list: [{ n: 1 }],
    more: true,
  });
  const refusal = (text: string) => {
    try {
      parseJson(text, schema);
    } catch (error) {
      assert.ok(error instanceof JsonShapeError);
      return error.message;
    }
    return 'accepted';
  };
  assert.match(refusal('{'), /not JSON/);
  assert.match(refusal(''), /not JSON/);
  assert.match(refusal('{"name":"a","list":[{"n":1},{"n":"x"}]}'), /\/list\/1\/n/);
  assert.match(refusal('{"list":[]}'), /member .*name/);
  for (const text of ['null', '[]', '5', '"x"']) assert.match(refusal(text), /member \//);
});

test('canonical JSON: one text for equal values, and it parses back', () => {
  assert.equal(
    canonicalJson({ b: [1, { z: null, a: 'x' }], a: true, 'a b': 0.5 }),
    '{"a":true,"a b":0.5,"b":[1,{"a":"x","z":null}]}',
  );
  assert.equal(canonicalJson({ a: undefined, b: 1 }), '{"b":1}');
  assert.equal(
    canonicalJson({ '\u{1f4be}': 1, '\uffff': 2, é: 3, Z: 4 }),
    '{"Z":4,"é":3,"\u{1f4be}":1,"\uffff":2}',
    'by UTF-16 code units',
  );
  const shuffled = (value: unknown): unknown =>
    value === null || typeof value !== 'object'
      ? value
      : Array.isArray(value)
        ? value.map(shuffled)
        : Object.fromEntries(
            Object.entries(value)
              .reverse()
              .map(([name, member]) => [name, shuffled(member)]),
          );
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const plain = JSON.parse(JSON.stringify(value)) as unknown;
      const text = canonicalJson(plain);
      assert.deepEqual(JSON.parse(text), plain);
      assert.equal(canonicalJson(shuffled(plain)), text);
    }),
  );
});
