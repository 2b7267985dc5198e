import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type StreamCutParameters, streamCutParameters } from '../../src/chunker/cut-parameters.ts';
import { CutDriver, ends } from './cut-driver.ts';
import { makeStream, type StreamRecipe, xorshiftBytes } from './cut-inputs.ts';
import { referenceStreamLengths } from './reference-cutter.ts';

const KIB = 1024;
const driver = new CutDriver(16 * KIB * KIB);

const seedHex = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const parameters = fc
  .tuple(fc.constantFrom(16 * KIB, 32 * KIB), seedHex)
  .map(([average, seed]) => streamCutParameters(average, seed));
// Noise, text-like bytes, periods and zeros, in stretches of odd lengths.
const stretch = fc.tuple(
  fc.integer({ min: 1, max: 0x7fffffff }),
  fc.constantFrom(0xff, 0xff, 0x1f, 0x03, 0),
  fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 90_000 })),
);
const stream: fc.Arbitrary<StreamRecipe> = fc.array(stretch, { maxLength: 6 });

function cut(bytes: Uint8Array, chosen: StreamCutParameters): number[] {
  driver.cutter.setStream(chosen);
  return driver.streamLengths(bytes);
}

test('WebAssembly and the reference give the same pieces', () => {
  fc.assert(
    fc.property(stream, parameters, (recipe, chosen) => {
      const bytes = makeStream(recipe);
      assert.deepEqual(cut(bytes, chosen), referenceStreamLengths(bytes, chosen));
    }),
    { numRuns: 200 },
  );
});

test('they agree for every average', () => {
  const bytes = xorshiftBytes(78, 8 * KIB * KIB + 13);
  for (const average of [16, 32, 64, 128, 256, 512, 1024]) {
    const chosen = streamCutParameters(average * KIB);
    assert.deepEqual(cut(bytes, chosen), referenceStreamLengths(bytes, chosen), `${average} KiB`);
  }
});

test('the pieces do not depend on how the stream is shown, nor on what lies behind', () => {
  const step = fc.oneof(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 100_000 }));
  fc.assert(
    fc.property(
      stream,
      parameters,
      fc.infiniteStream(step),
      fc.constantFrom(0, 0xa5),
      (recipe, chosen, steps, decoy) => {
        const bytes = makeStream(recipe);
        const whole = cut(bytes, chosen);
        assert.deepEqual(
          driver.streamLengths(bytes, () => steps.next().value as number, decoy),
          whole,
        );
      },
    ),
    { numRuns: 200 },
  );
});

test('the pieces cover the stream and stay within the bounds', () => {
  fc.assert(
    fc.property(stream, parameters, (recipe, chosen) => {
      const bytes = makeStream(recipe);
      const lengths = cut(bytes, chosen);
      assert.equal(
        lengths.reduce((sum, length) => sum + length, 0),
        bytes.length,
      );
      for (const length of lengths.slice(0, -1)) assert.ok(length >= chosen.minBytes && length <= chosen.maxBytes);
      for (const length of lengths.slice(-1)) assert.ok(length > 0 && length <= chosen.maxBytes);
    }),
    { numRuns: 200 },
  );
});

test('maxBytes are always enough for an answer', () => {
  const chosen = streamCutParameters(16 * KIB);
  driver.cutter.setStream(chosen);
  for (const bytes of [xorshiftBytes(3, 1_000_000), new Uint8Array(1_000_000)]) {
    let calls = 0;
    const lengths = driver.streamLengths(bytes, () => {
      calls++;
      return chosen.maxBytes;
    });
    assert.equal(calls, lengths.length);
  }
});

test('repeated bytes are cut at the maximum, whatever the byte and the seed', () => {
  for (let byte = 0; byte < 256; byte++) {
    const chosen = streamCutParameters(16 * KIB, byte.toString(16).padStart(32, '5'));
    assert.deepEqual(cut(new Uint8Array(65_537).fill(byte), chosen), [65_536, 1]);
  }
});

/** The 32 bytes before the first cut of some noise whose piece has a length that `fits`. */
function cuttingWindow(chosen: StreamCutParameters, fits: (length: number) => boolean): Uint8Array {
  const noise = xorshiftBytes(21, 2_000_000);
  const lengths = cut(noise, chosen);
  const end = ends(lengths)[lengths.findIndex((length) => fits(length) && length < chosen.maxBytes)];
  return noise.subarray(end - 32, end);
}

/** The first piece of `size` bytes of one value with `window` before offset `at`. */
function firstLength(chosen: StreamCutParameters, window: Uint8Array, at: number, size: number): number {
  const bytes = Buffer.alloc(size, 7);
  bytes.set(window, at - 32);
  return cut(bytes, chosen)[0];
}

test('the same 32 bytes cut wherever they come up, from the minimum on', () => {
  const chosen = streamCutParameters(16 * KIB);
  const window = cuttingWindow(chosen, (length) => length < chosen.averageBytes);
  for (const at of [4096, 4097, 5000, 9999, 16_383, 16_384, 30_001]) {
    assert.equal(firstLength(chosen, window, at, at + 100_000), at);
  }
  assert.equal(firstLength(chosen, window, 4095, 100_000), 65_536, 'never below the minimum');
});

test('the end of the available bytes hides no cut and makes none', () => {
  const chosen = streamCutParameters(16 * KIB);
  const window = cuttingWindow(chosen, (length) => length < chosen.averageBytes);
  for (let behind = 0; behind <= 70; behind++) {
    for (let at = 4096; at < 4096 + 140; at++) assert.equal(firstLength(chosen, window, at, at + behind), at);
    for (let at = 4030; at < 4096; at++) assert.equal(firstLength(chosen, window, at, 4096 + behind), 4096 + behind);
  }
});

test('the loose mask holds from the average on', () => {
  const chosen = streamCutParameters(16 * KIB);
  const window = cuttingWindow(chosen, (length) => length > chosen.averageBytes);
  assert.equal(firstLength(chosen, window, 16_383, 100_000), 65_536);
  assert.equal(firstLength(chosen, window, 16_384, 100_000), 16_384);
});

test('an insertion moves only cuts near it', () => {
  const chosen = streamCutParameters(16 * KIB);
  for (let seed = 1; seed <= 20; seed++) {
    const bytes = xorshiftBytes(seed, 3 * KIB * KIB);
    const before = ends(cut(bytes, chosen));
    const at = 1_000_003;
    const inserted = xorshiftBytes(seed + 99, 1 + seed * 7);
    const longer = Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at)]);
    const after = ends(cut(longer, chosen));
    assert.deepEqual(
      after.filter((end) => end <= at),
      before.filter((end) => end <= at),
    );
    const settled = at + 512 * KIB;
    assert.deepEqual(
      after.map((end) => end - inserted.length).filter((end) => end > settled),
      before.filter((end) => end > settled),
      `seed ${seed}`,
    );
  }
});

test('another seed gives other cuts', () => {
  const bytes = xorshiftBytes(5, 8 * KIB * KIB);
  const seeds = [undefined, '0'.repeat(32), '0'.repeat(31).concat('1'), 'ff'.repeat(16)];
  const all = seeds.map((seed) => new Set(ends(cut(bytes, streamCutParameters(64 * KIB, seed)))));
  for (const [index, one] of all.entries()) {
    for (const other of all.slice(index + 1)) {
      const common = [...one].filter((end) => other.has(end)).length;
      assert.ok(common <= 2, `${common} of ${one.size} cuts in common`);
    }
  }
});

test('the mean is near the average on noise, text and few byte values, also for other seeds', () => {
  const text = readFileSync(new URL('../../node_modules/typescript/lib/typescript.js', import.meta.url));
  const fewValues = makeStream([[9, 15, 12_000_000]]);
  const inputs = { noise: xorshiftBytes(8, 12_000_000), text, fewValues };
  for (const seed of [undefined, '0'.repeat(32), 'c3'.repeat(16)]) {
    for (const [name, bytes] of Object.entries(inputs)) {
      const mean = bytes.length / cut(bytes, streamCutParameters(64 * KIB, seed)).length / KIB;
      assert.ok(mean > 48 && mean < 106, `${name}, seed ${seed}: ${mean} KiB`);
    }
  }
});
