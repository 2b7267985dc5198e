// Work on many items by a few threads, with results in the order of the items and bounded waiting.

/**
 * Runs `work` on every item with `width` at a time, each on a thread of its own, and hands results to `take` in the order of the items.
 * Holds at most `width` results that wait for an earlier one.
 */
export async function inOrder<Item, Result>(
  width: number,
  items: AsyncGenerator<Item>,
  work: (item: Item, thread: number) => Promise<Result>,
  take: (item: Item, result: Result) => Promise<void>,
): Promise<void> {
  let turn: Promise<void> = Promise.resolve();
  let failure: { error: unknown } | undefined;
  const run = async (thread: number): Promise<void> => {
    for (;;) {
      if (failure !== undefined) return;
      const { previous, item, done } = await claim();
      if (item === undefined) return;
      try {
        const result = await work(item, thread);
        await previous;
        // After a failure nothing is taken any more: what follows would have a gap before it.
        if (failure === undefined) await take(item, result);
      } catch (error) {
        failure ??= { error };
      } finally {
        done();
      }
    }
  };
  let claiming: Promise<unknown> = Promise.resolve();
  const claim = (): Promise<{ previous: Promise<void>; item: Item | undefined; done: () => void }> => {
    const next = claiming.then(async () => {
      let done = (): void => {};
      const previous = turn;
      try {
        const { value, done: ended } = await items.next();
        if (ended) return { previous, item: undefined, done };
        turn = new Promise((resolve) => {
          done = resolve;
        });
        return { previous, item: value as Item, done };
      } catch (error) {
        failure ??= { error };
        return { previous, item: undefined, done };
      }
    });
    claiming = next;
    return next;
  };
  await Promise.all(Array.from({ length: width }, (_, thread) => run(thread)));
  try {
    await items.return(undefined);
  } catch (error) {
    // What failed first is what counts.
    failure ??= { error };
  }
  if (failure !== undefined) throw failure.error;
}
