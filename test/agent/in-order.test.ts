import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { inOrder } from '../../src/agent/in-order.ts';

/** Numbers from 0, and whether the generator was closed. */
function numbers(count: number): { items: AsyncGenerator<number>; closed: () => boolean } {
  let isClosed = false;
  async function* generate(): AsyncGenerator<number> {
    try {
      for (let item = 0; item < count; item++) yield item;
    } finally {
      isClosed = true;
    }
  }
  return { items: generate(), closed: () => isClosed };
}

async function turns(count: number): Promise<void> {
  for (let done = 0; done < count; done++) await turn();
}

test('results are taken in the order of the items, whatever each takes', async () => {
  const delays = fc.array(fc.nat(6), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), delays, delays, async (width, work, take) => {
      const taken: number[] = [];
      const busy = new Set<number>();
      let waiting = 0;
      await inOrder(
        width,
        numbers(work.length).items,
        async (item, thread) => {
          assert.ok(!busy.has(thread), 'a thread does one thing at a time');
          busy.add(thread);
          assert.ok(++waiting <= width, 'no more results wait than there are threads');
          await turns(work[item]);
          busy.delete(thread);
          return item * 2;
        },
        async (item, result) => {
          await turns(take[item] ?? 0);
          assert.equal(result, item * 2);
          taken.push(item);
          waiting--;
        },
      );
      assert.deepEqual(taken, [...work.keys()]);
    }),
    { numRuns: 60 },
  );
});

test('all threads work at the same time', async () => {
  let running = 0;
  let most = 0;
  await inOrder(
    4,
    numbers(40).items,
    async () => {
      most = Math.max(most, ++running);
      await turns(3);
      running--;
    },
    async () => {},
  );
  assert.equal(most, 4);
});

test('an item that takes long holds up nobody until as many wait as may', async () => {
  let release: () => void = () => {};
  const slow = new Promise<void>((resolve) => {
    release = resolve;
  });
  const worked: number[] = [];
  const taken: number[] = [];
  const done = inOrder(
    2,
    numbers(30).items,
    async (item) => {
      if (item === 0) await slow;
      worked.push(item);
    },
    async (item) => void taken.push(item),
    10,
  );
  await turns(20);
  assert.deepEqual(worked, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(taken, []);
  release();
  await done;
  assert.deepEqual(taken, [...Array(30).keys()]);
});

test('no items: nothing to do', async () => {
  const { items, closed } = numbers(0);
  await inOrder(
    3,
    items,
    () => assert.fail('no item'),
    () => assert.fail('no result'),
  );
  assert.ok(closed());
});

for (const where of ['work', 'take', 'work, at once', 'take, at once'] as const) {
  test(`a failure in ${where} stops everything, closes the generator and is the one that is thrown`, async () => {
    const unhandled: unknown[] = [];
    const listener = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', listener);
    const { items, closed } = numbers(1000);
    const taken: number[] = [];
    let started = 0;
    const fails = async (item: number, part: string): Promise<void> => {
      if (item < 10 || !where.startsWith(part)) return;
      if (!where.endsWith('at once')) await turn();
      throw new Error(`no ${item}`);
    };
    await assert.rejects(
      inOrder(
        3,
        items,
        async (item) => {
          started++;
          await fails(item, 'work');
        },
        async (item) => {
          await fails(item, 'take');
          taken.push(item);
        },
      ),
      /^Error: no 1\d$/,
    );
    await turns(5);
    process.off('unhandledRejection', listener);
    assert.deepEqual(unhandled, []);
    assert.ok(closed());
    assert.ok(started < 20, `${started} items were started`);
    // Nothing behind a gap: what was taken is a beginning of the items.
    assert.deepEqual(taken, [...Array(taken.length).keys()]);
    assert.ok(taken.length <= 10);
  });
}

test('an item that waits for a slow one before it is not taken when that one fails', async () => {
  const taken: number[] = [];
  await assert.rejects(
    inOrder(
      2,
      numbers(2).items,
      async (item) => {
        await turns(item === 0 ? 8 : 0);
        if (item === 0) throw new Error('slow and bad');
      },
      async (item) => void taken.push(item),
    ),
    /slow and bad/,
  );
  assert.deepEqual(taken, []);
});

test('a generator that fails ends the work with its error', async () => {
  async function* broken(): AsyncGenerator<number> {
    yield 0;
    yield 1;
    throw new Error('the list is damaged');
  }
  const taken: number[] = [];
  await assert.rejects(
    inOrder(
      3,
      broken(),
      async (item) => item,
      async (item) => void taken.push(item),
    ),
    /the list is damaged/,
  );
  assert.ok(taken.length <= 2);
});

test('a generator that fails when it is closed does not hide the first failure', async () => {
  async function* stubborn(): AsyncGenerator<number> {
    try {
      for (let item = 0; ; item++) yield item;
    } finally {
      // biome-ignore lint/correctness/noUnsafeFinally: what the test is about
      throw new Error('cannot close');
    }
  }
  const work = async (): Promise<void> => {
    throw new Error('first');
  };
  await assert.rejects(
    inOrder(2, stubborn(), work, async () => {}),
    /first/,
  );
});
