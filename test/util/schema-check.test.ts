// A compiled check says what the interpreted one says, and takes over when a schema is used much.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { manifestDigest } from '../../src/datastore/snapshots/manifest-digest.ts';
import { Accounting } from '../../src/schema/accounting-file.ts';
import { Manifest } from '../../src/schema/manifest.ts';
import { hasShape } from '../../src/util/schema-check.ts';
import { clientPart, serverPart } from '../datastore/snapshots/manifests.ts';

const MANIFEST = {
  format: 1,
  client: clientPart(),
  server: serverPart(1, 1),
  digest: manifestDigest(clientPart(), serverPart(1, 1)),
};

/** The value with one member after the other left out, of another type, null, or beside one that nobody knows. */
function* spoilt(value: unknown): Generator<unknown> {
  if (value === null || typeof value !== 'object') {
    yield* [null, 'text', -1, 1.5, 2 ** 60, {}, [], true, ''];
    return;
  }
  for (const name of Object.keys(value)) {
    const { [name]: member, ...rest } = value as Record<string, unknown>;
    yield rest;
    for (const each of spoilt(member)) yield Array.isArray(value) ? [each] : { ...value, [name]: each };
  }
  yield { ...value, more: 1 };
}

for (const [name, schema, value] of [
  ['manifest', Manifest, MANIFEST],
  [
    'accounting',
    Accounting,
    {
      format: 1,
      time: 'now',
      durationMs: 1,
      metadataRead: 0,
      objectsUnreadable: 0,
      bytesLive: 0,
      bytesRecords: 0,
      snapshots: [],
      shared: [{ ns: '', group: null, bytes: 1 }],
    },
  ],
  ['pattern', Type.Object({ a: Type.String({ pattern: '^[^\\u0000-\\u001f\\u007f]*$', maxLength: 4 }) }), { a: 'ü' }],
] as const satisfies readonly (readonly [string, TSchema, unknown])[])
  test(`${name}: compiled as interpreted`, () => {
    assert.ok(Value.Check(schema, value));
    assert.ok(hasShape(schema, value, Number.POSITIVE_INFINITY));
    let refused = 0;
    for (const each of spoilt(value)) {
      const isGood = Value.Check(schema, each);
      if (!isGood) refused++;
      assert.equal(hasShape(schema, each, Number.POSITIVE_INFINITY), isGood, JSON.stringify(each));
    }
    assert.ok(refused > 5);
  });

test('what is checked often becomes many times faster', () => {
  const rows = Array.from({ length: 3000 }, (_, n) => ({ n, text: `row ${n}`, more: { a: true, b: null } }));
  const shape = Type.Array(
    Type.Object({ n: Type.Integer(), text: Type.String(), more: Type.Object({ a: Type.Boolean(), b: Type.Null() }) }),
  );
  const cpuMs = (chars: number): number => {
    const before = process.cpuUsage();
    for (let turn = 0; turn < 5; turn++) assert.ok(hasShape(shape, rows, chars));
    return (process.cpuUsage(before).user + process.cpuUsage(before).system) / 1000;
  };
  const interpreted = cpuMs(0);
  hasShape(shape, rows, Number.POSITIVE_INFINITY);
  assert.ok(cpuMs(0) * 3 < interpreted, `${interpreted} ms interpreted`);
});
