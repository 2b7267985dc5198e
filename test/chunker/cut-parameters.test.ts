import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  checkDiskCutParameters,
  DEFAULT_AVERAGE_BYTES,
  diskCutParameters,
  LARGE_STORE_AVERAGE_BYTES,
  PUBLIC_CUT_SEED,
  SUPPORTED_AVERAGE_BYTES,
  streamCutParameters,
} from '../../src/chunker/cut-parameters.ts';
import { createCutter } from '../../src/chunker/cutter.ts';
import { HoldfastError } from '../../src/util/errors.ts';
import { blockHasher } from './reference-cutter.ts';

const refused = (code: string) => (error: unknown) => error instanceof HoldfastError && error.code === code;

test('the defaults are those of the format', () => {
  const sizes = { minBytes: 16_384, averageBytes: 65_536, maxBytes: 262_144, cutSeed: PUBLIC_CUT_SEED };
  assert.deepEqual(diskCutParameters(), { algorithm: 'blk4k-1', ...sizes });
  assert.deepEqual(streamCutParameters(), { algorithm: 'simd-1', ...sizes });
  assert.deepEqual(SUPPORTED_AVERAGE_BYTES, [16_384, 32_768, 65_536, 131_072, 262_144, 524_288, 1_048_576]);
  assert.ok(SUPPORTED_AVERAGE_BYTES.includes(DEFAULT_AVERAGE_BYTES));
  assert.ok(SUPPORTED_AVERAGE_BYTES.includes(LARGE_STORE_AVERAGE_BYTES));
});

test('the public seed is derived as it says', () => {
  const sentence = createHash('sha256').update('Holdfast public cut seed, draw 123', 'ascii').digest('hex');
  assert.equal(PUBLIC_CUT_SEED, sentence.slice(0, 32));
});

test('under the public seed no cut falls before a block of one repeated byte 0 or 255', () => {
  const hash = blockHasher(PUBLIC_CUT_SEED);
  for (const byte of [0, 255]) assert.notEqual(hash(new Uint8Array(4096).fill(byte)) >>> 31, 0);
});

test('what this version cannot cut by is refused', () => {
  for (const average of [0, 1, 8192, 65_535, 98_304, 2_097_152, -65_536, Number.NaN]) {
    assert.throws(() => diskCutParameters(average), refused('bad-argument'), `${average}`);
    assert.throws(() => streamCutParameters(average), refused('bad-argument'), `${average}`);
  }
  for (const seed of ['', '0'.repeat(31), '0'.repeat(33), 'G'.repeat(32), 'A'.repeat(32), `${'0'.repeat(32)}\n`]) {
    assert.throws(() => diskCutParameters(65_536, seed), refused('bad-argument'), seed);
  }
  const good = diskCutParameters();
  assert.throws(() => checkDiskCutParameters({ ...good, minBytes: 8192 }), refused('bad-argument'));
  assert.throws(() => checkDiskCutParameters({ ...good, maxBytes: 8192 }), refused('bad-argument'));
});

test('a cutter takes parameters of its kind only', () => {
  const cutter = createCutter(new WebAssembly.Memory({ initial: 1 }));
  const stream = streamCutParameters();
  assert.throws(() => cutter.setDisk(stream as never), refused('bad-argument'));
  assert.throws(() => cutter.setStream(diskCutParameters() as never), refused('bad-argument'));
});

test('no error shows the seed', () => {
  const secret = 'abcdef0123456789abcdef012345678X';
  const shown = (action: () => unknown) => {
    try {
      action();
    } catch (error) {
      return JSON.stringify([(error as Error).message, (error as HoldfastError).data]);
    }
    return assert.fail('did not throw');
  };
  assert.ok(!shown(() => diskCutParameters(65_536, secret)).includes('abcdef'));
  assert.ok(!shown(() => diskCutParameters(5, secret)).includes('abcdef'));
});
