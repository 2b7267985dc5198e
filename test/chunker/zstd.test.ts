import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Compressor, compressBound, Decompressor } from '../../src/chunker/zstd.ts';
import { ZSTD_LEVELS } from '../../src/schema/compression.ts';

const decompressor = new Decompressor();

test('every level round-trips, also content that does not compress, within the bound', () => {
  const inputs = [Buffer.alloc(0), Buffer.alloc(100_000, 'holdfast'), randomBytes(70_000)];
  for (const level of [ZSTD_LEVELS.lowest, 3, ZSTD_LEVELS.highest]) {
    const compressor = new Compressor(level);
    for (const input of inputs) {
      const target = Buffer.alloc(compressBound(input.length));
      const length = compressor.compress(target, input);
      assert.ok(length <= target.length);
      const back = Buffer.alloc(input.length);
      assert.equal(decompressor.decompress(back, target.subarray(0, length)), input.length);
      assert.deepEqual(back, input);
    }
  }
});

test('a frame that is damaged, cut, or larger than the target throws, and the context goes on working', () => {
  const input = Buffer.alloc(50_000, 'abcdefgh');
  const target = Buffer.alloc(compressBound(input.length));
  const frame = target.subarray(0, new Compressor(1).compress(target, input));
  const whole = Buffer.alloc(input.length);
  assert.throws(() => decompressor.decompress(whole, frame.subarray(0, frame.length - 1)));
  assert.throws(() => decompressor.decompress(whole.subarray(1), frame));
  assert.throws(() => decompressor.decompress(whole, Buffer.alloc(20, 1)));
  assert.equal(decompressor.decompress(whole, frame), input.length);
  assert.deepEqual(whole, input);
});

test('a target too small for the frame is an error, never a short frame', () => {
  const input = randomBytes(10_000);
  assert.throws(() => new Compressor(1).compress(Buffer.alloc(5000), input));
});
