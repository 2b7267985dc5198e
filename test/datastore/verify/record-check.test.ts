import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createCodec } from '../../../src/chunker/create-codec.ts';
import { Kind } from '../../../src/chunker/object.ts';
import { shortHash } from '../../../src/chunker/object-id.ts';
import { RecordCheck } from '../../../src/datastore/verify/record-check.ts';
import { type MadeRecord, makeRecord } from '../fixture.ts';

const check = new RecordCheck(createCodec(undefined));
const expected = ({ id, kind }: MadeRecord, more: object = {}) => ({ id, space: 0, kind, ...more });

const made = {
  'stored raw': makeRecord(randomBytes(70_000)),
  compressed: makeRecord(Buffer.alloc(70_000, 'abcde')),
  empty: makeRecord(Buffer.alloc(0)),
  'larger than what is decoded in place': makeRecord(Buffer.alloc((1 << 20) + 1, 'xyz')),
  'with refs': makeRecord(Buffer.from('a list'), Kind.list, randomBytes(64)),
  'of a kind that nobody knows': makeRecord(Buffer.from('what'), 77),
};

for (const [what, record] of Object.entries(made)) {
  test(`a record ${what} holds, and no bit of it may change`, () => {
    assert.ok(check.holds(record.record, expected(record)));
    assert.ok(check.holds(record.record, expected(record, { kind: 0 })), 'also when its kind is not known');
    const bytes = Buffer.from(record.record);
    for (let at = 0; at < bytes.length; at += 1 + Math.floor(bytes.length / 300)) {
      bytes[at]! ^= 4;
      assert.ok(!check.holds(bytes, expected(record)), `byte ${at}`);
      bytes[at]! ^= 4;
    }
    assert.ok(!check.holds(bytes.subarray(0, -1), expected(record)));
    assert.ok(!check.holds(Buffer.alloc(0), expected(record)));
  });
}

test('a whole record in the wrong place, or of another kind than its table says, does not hold', () => {
  const [one, other] = [made.compressed, made['stored raw']];
  assert.ok(!check.holds(one.record, expected(other)));
  assert.ok(!check.holds(one.record, expected(one, { kind: Kind.blob })));
});

test('a checksum that was made for altered content does not help: the content makes the id', () => {
  for (const record of [made['stored raw'], made['with refs'], made['larger than what is decoded in place']]) {
    const forged = Buffer.from(record.record);
    forged[forged.length - 20]! ^= 1;
    shortHash(forged.subarray(0, -16)).copy(forged, forged.length - 16);
    assert.ok(!check.holds(forged, expected(record)));
  }
  // In a space whose ids only its owner can make, the checksum is all there is.
  const forged = Buffer.from(made['stored raw'].record);
  forged[100]! ^= 1;
  assert.ok(!check.holds(forged, expected(made['stored raw'], { space: 3 })));
  shortHash(forged.subarray(0, -16)).copy(forged, forged.length - 16);
  assert.ok(!check.holds(forged, expected(made['stored raw'], { space: 3 })), 'no plain record stands there');
  forged[7] = 1;
  shortHash(forged.subarray(0, -16)).copy(forged, forged.length - 16);
  assert.ok(check.holds(forged, expected(made['stored raw'], { space: 3 })));
  assert.ok(!check.holds(forged, expected(made['stored raw'])), 'nor an encrypted one in space plain');
});
