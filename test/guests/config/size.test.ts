import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseSize, printSize } from '../../../src/guests/config/size.ts';

test('sizes are powers of 1024 with and without a unit', () => {
  const sizes: [string, number][] = [
    ['0', 0],
    ['512', 512],
    ['4608K', 4608 * 1024],
    ['32G', 32 * 1024 ** 3],
    ['1.5T', 1.5 * 1024 ** 4],
    ['8MiB', 8 * 1024 ** 2],
    ['7iB', 7],
    ['0.3K', 307],
  ];
  for (const [text, bytes] of sizes) assert.equal(parseSize(text), bytes, text);
});

test('sizes are printed with the largest unit that divides them', () => {
  assert.equal(printSize(34_359_738_368), '32G');
  assert.equal(printSize(4_718_592), '4608K');
  assert.equal(printSize(10 * 1024 ** 5), '10240T');
  assert.equal(printSize(1025), '1025');
  assert.equal(printSize(0), '0');
});

test('what is no size is refused', () => {
  for (const text of ['', 'G', '-1', '1.G', '.5G', '1P', '1g', '1 G', '1GB', '99999T9', '9999999999T', '1e3'])
    assert.throws(() => parseSize(text), { code: 'bad-argument' }, text);
});

test('every size reads back as it was printed', () => {
  fc.assert(fc.property(fc.maxSafeNat(), (bytes) => assert.equal(parseSize(printSize(bytes)), bytes)));
  fc.assert(
    fc.property(fc.nat(4096), fc.nat(4), (count, unit) =>
      assert.equal(parseSize(printSize(count * 1024 ** unit)), count * 1024 ** unit),
    ),
  );
});
