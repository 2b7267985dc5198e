// The stat block: every field at its offset, times before 1970, and sizes beyond 32 bits.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  FileType,
  fileType,
  inodeKey,
  modeOf,
  nlinkOf,
  readStat,
  STAT_BYTES,
  type StatFields,
  sizeOf,
  withSize,
  writeStat,
} from '../../src/chunker/stat-block.ts';

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const seconds = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const time = fc
  .tuple(seconds, fc.bigInt({ min: 0n, max: 999_999_999n }))
  .map(([whole, rest]) => whole * 1_000_000_000n + rest);
const fields: fc.Arbitrary<StatFields> = fc.record({
  mode: u32,
  uid: u32,
  gid: u32,
  nlink: u32,
  sizeBytes: fc.maxSafeNat(),
  mtimeNs: time,
  ctimeNs: time,
  inode: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  major: u32,
  minor: u32,
  attributes: u32,
});

test('round trip: any fields, also at an odd place of a larger buffer', () => {
  fc.assert(
    fc.property(fields, fc.integer({ min: 0, max: 9 }), (given, offset) => {
      const block = writeStat(given);
      assert.equal(block.length, STAT_BYTES);
      const inside = Buffer.concat([Buffer.alloc(offset, 0xff), block, Buffer.alloc(3, 0xff)]).subarray(
        offset,
        offset + STAT_BYTES,
      );
      assert.deepEqual(readStat(inside), { ...given });
      assert.equal(modeOf(inside), given.mode);
      assert.equal(sizeOf(inside), given.sizeBytes);
      assert.equal(nlinkOf(inside), given.nlink);
      const inode = Buffer.alloc(8);
      inode.writeBigUInt64LE(given.inode);
      assert.equal(inodeKey(inside), inode.toString('latin1'));
    }),
  );
});

test('every field at its offset', () => {
  const block = writeStat({
    mode: 0o100644,
    uid: 0x04030201,
    gid: 0x08070605,
    nlink: 0x0c0b0a09,
    sizeBytes: 0x1_0000_0002,
    mtimeNs: -1n,
    ctimeNs: 3_000_000_004n,
    inode: 0x1817161514131211n,
    major: 0x24232221,
    minor: 0x28272625,
    attributes: 0x2c2b2a29,
  });
  const expected = [
    'a4810000',
    '01020304',
    '05060708',
    '090a0b0c',
    '0200000001000000',
    'ffffffffffffffff',
    '0300000000000000',
  ];
  expected.push('1112131415161718', 'ffc99a3b', '04000000', '21222324', '25262728', '292a2b2c');
  assert.equal(block.toString('hex'), expected.join(''));
});

test('types are what the file system says, and an unknown one is none of them', () => {
  for (const type of Object.values(FileType)) assert.equal(fileType(writeStat({ ...zero, mode: type | 0o7777 })), type);
  assert.ok(!Object.values(FileType).includes(fileType(writeStat({ ...zero, mode: 0o110644 })) as never));
});

test('another size changes the size alone, in a copy', () => {
  const block = writeStat({ ...zero, mode: FileType.file, sizeBytes: 7, inode: 9n });
  const other = withSize(block, 2 ** 40 + 1);
  assert.deepEqual(readStat(other), { ...readStat(block), sizeBytes: 2 ** 40 + 1 });
  assert.equal(sizeOf(block), 7);
});

const zero: StatFields = {
  mode: 0,
  uid: 0,
  gid: 0,
  nlink: 1,
  sizeBytes: 0,
  mtimeNs: 0n,
  ctimeNs: 0n,
  inode: 0n,
  major: 0,
  minor: 0,
  attributes: 0,
};
