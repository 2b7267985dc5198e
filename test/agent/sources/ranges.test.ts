// Arithmetic of byte ranges, against sets of bytes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { joinRanges, RangeCursor, stepsOf, without } from '../../../src/agent/sources/ranges.ts';
import type { Range } from '../../../src/agent/sources/source.ts';

/** Which bytes some ranges name. */
function bytesOf(ranges: readonly Range[]): number[] {
  const bytes = new Set<number>();
  for (const { offset, length } of ranges) for (let at = offset; at < offset + length; at++) bytes.add(at);
  return [...bytes].sort((a, b) => a - b);
}

const ranges = fc.array(fc.record({ offset: fc.nat(120), length: fc.nat(20) }, { noNullPrototype: true }), {
  maxLength: 12,
});

test('joined ranges name the same bytes, ascending, and do not touch', () => {
  fc.assert(
    fc.property(ranges, (list) => {
      const before = structuredClone(list);
      const joined = joinRanges(list);
      assert.deepEqual(list, before, 'the argument stays as it is');
      assert.deepEqual(bytesOf(joined), bytesOf(list));
      for (const [place, range] of joined.entries()) {
        assert.ok(range.length > 0);
        const next = joined[place + 1];
        assert.ok(next === undefined || next.offset > range.offset + range.length);
      }
    }),
  );
});

test('windows over ranges give the bytes of each window, from lists and from streams', async () => {
  const windows = fc.array(fc.record({ skip: fc.nat(10), length: fc.integer({ min: 1, max: 40 }) }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(ranges, windows, fc.boolean(), async (list, steps, isStream) => {
      const joined = joinRanges(list);
      const named = new Set(bytesOf(joined));
      async function* stream(): AsyncGenerator<Range> {
        yield* joined;
      }
      const cursor = new RangeCursor(isStream ? stream() : joined);
      let at = 0;
      for (const { skip, length } of steps) {
        at += skip;
        const expected = [...Array(length).keys()].filter((byte) => named.has(at + byte));
        assert.deepEqual(bytesOf(await cursor.within(at, length)), expected);
        at += length;
      }
      await cursor.close();
    }),
  );
});

test('a cursor that is not read to its end closes its stream', async () => {
  let isClosed = false;
  async function* stream(): AsyncGenerator<Range> {
    try {
      for (let offset = 0; ; offset += 10) yield { offset, length: 5 };
    } finally {
      isClosed = true;
    }
  }
  const cursor = new RangeCursor(stream());
  assert.deepEqual(await cursor.within(0, 12), [
    { offset: 0, length: 5 },
    { offset: 10, length: 2 },
  ]);
  assert.deepEqual(await cursor.within(12, 3), [{ offset: 0, length: 3 }]);
  await cursor.close();
  assert.ok(isClosed);
});

test('steps of ranges name the same bytes', () => {
  fc.assert(
    fc.property(ranges, fc.integer({ min: 1, max: 9 }), (list, bytes) => {
      const kept = joinRanges(list);
      const steps = [...stepsOf(kept, bytes)];
      assert.deepEqual(bytesOf(steps), bytesOf(kept));
      assert.ok(steps.every(({ length }) => length > 0 && length <= bytes));
    }),
  );
});

test('ranges less others name the bytes that only they name, ascending', () => {
  fc.assert(
    fc.property(ranges, ranges, (list, others) => {
      const [kept, holes] = [joinRanges(list), joinRanges(others)];
      const taken = new Set(bytesOf(holes));
      const left = without(kept, holes);
      assert.deepEqual(
        left.flatMap(({ offset, length }) => Array.from({ length }, (_, place) => offset + place)),
        bytesOf(kept).filter((byte) => !taken.has(byte)),
      );
      assert.ok(left.every(({ length }) => length > 0));
    }),
  );
});
