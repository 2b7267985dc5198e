// Golden records: no change of code may move a byte of one, or the id of an object. To add a case, write its recipe with empty
// texts and take them from the failure; an existing case is never edited. The frames of zstd are pinned for reading only: another
// release of it may compress otherwise.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { IdHasher } from '../../src/chunker/object-id.ts';
import {
  Codec,
  encodeRecord,
  openRecord,
  readRecordHeader,
  recordBound,
  recordIsWhole,
} from '../../src/chunker/record.ts';
import { Compressor, Decompressor } from '../../src/chunker/zstd.ts';
import { referenceBlake3, referenceId } from './reference-blake3.ts';

interface RecordCase {
  readonly name: string;
  readonly kind: number;
  /** Hexadecimal, as all bytes here. */
  readonly refs: string;
  readonly payload: string | { readonly repeat: string; readonly times: number };
  readonly id: string;
  readonly codec: 'raw' | 'zstd';
  readonly record: string;
}

const { cases } = JSON.parse(readFileSync(new URL('../vectors/records.json', import.meta.url), 'utf8')) as {
  cases: RecordCase[];
};
const hasher = new IdHasher();

const payloadOf = ({ payload }: RecordCase) =>
  Buffer.from(typeof payload === 'string' ? payload : payload.repeat.repeat(payload.times), 'hex');

test('the vectors cover both codecs and every kind in use', () => {
  assert.deepEqual([...new Set(cases.map((one) => one.codec))].sort(), ['raw', 'zstd']);
  for (const kind of [1, 2, 3, 5, 200]) assert.ok(cases.some((one) => one.kind === kind));
});

for (const one of cases) {
  const { name, kind, codec } = one;
  const refs = Buffer.from(one.refs, 'hex');
  const payload = payloadOf(one);

  test(`${name}: the id, by our code and by the reference`, () => {
    assert.equal(hasher.id(kind, refs, payload).toString('hex'), one.id);
    assert.equal(referenceId(kind, refs, payload).toString('hex'), one.id);
  });

  test(`${name}: every byte of the record`, () => {
    const target = Buffer.alloc(recordBound(refs.length, payload.length));
    const id = Buffer.from(one.id, 'hex');
    const length = encodeRecord(target, { kind, id, refs, payload }, new Compressor(1));
    assert.equal(readRecordHeader(target)?.codec, Codec[codec]);
    if (codec === 'raw' || one.record === '') assert.equal(target.subarray(0, length).toString('hex'), one.record);
  });

  test(`${name}: the stored bytes, field by field`, () => {
    const record = Buffer.from(one.record, 'hex');
    const stored = record.subarray(56 + refs.length, record.length - 16);
    const header = Buffer.alloc(24);
    header.write('HDFR', 'latin1');
    header.set([1, kind, Codec[codec], 0], 4);
    header.writeUInt32LE(refs.length / 32, 8);
    header.writeUInt32LE(stored.length, 12);
    header.writeUInt32LE(payload.length, 16);
    const content = Buffer.concat([header, Buffer.from(one.id, 'hex'), refs, stored]);
    assert.deepEqual(record, Buffer.concat([content, referenceBlake3(content).subarray(0, 16)]));
    assert.ok(recordIsWhole(record));
    assert.deepEqual(openRecord(record, Buffer.from(one.id, 'hex'), hasher, new Decompressor()), {
      kind,
      refs,
      payload,
    });
  });
}
