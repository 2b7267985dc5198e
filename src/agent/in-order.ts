// Work on many items by a few threads, with results in the order of the items and bounded waiting.

/**
 * Runs `work` on every item with `width` at a time, each on a thread of its own, and hands results to `take` in the order of the items. At most `ahead` items
 * are worked on or wait for an earlier one: as many as the threads where a result is large, more where one may take much longer than the others.
 */
export async function inOrder<Item, Result>(
  width: number,
  items: AsyncGenerator<Item>,
  work: (item: Item, thread: number) => Promise<Result>,
  take: (item: Item, result: Result) => Promise<void>,
  ahead = width,
): Promise<void> {
  let failure: { error: unknown } | undefined;
  const fail = (error: unknown): void => {
    failure ??= { error };
  };
  // One promise for each item that was claimed and not taken yet, first come first; none of them rejects.
  const untaken: Promise<void>[] = [];
  let lastTaken: Promise<void> = Promise.resolve();
  const takeInTurn = async (previous: Promise<void>, item: Item, result: Promise<Result | Failed>): Promise<void> => {
    await previous;
    const value = await result;
    // After a failure nothing is taken any more: what follows would have a gap before it.
    if (value === FAILED || failure !== undefined) return;
    try {
      await take(item, value);
    } catch (error) {
      fail(error);
    }
  };
  const claim = async (): Promise<{ item: Item; settle: (result: Result | Failed) => void } | undefined> => {
    if (untaken.length >= ahead) await untaken.shift();
    if (failure !== undefined) return undefined;
    const { value: item, done } = await items.next();
    if (done) return undefined;
    let settle: (result: Result | Failed) => void = () => {};
    const result = new Promise<Result | Failed>((resolve) => {
      settle = resolve;
    });
    lastTaken = takeInTurn(lastTaken, item, result);
    untaken.push(lastTaken);
    return { item, settle };
  };
  let claiming: Promise<unknown> = Promise.resolve();
  const run = async (thread: number): Promise<void> => {
    for (;;) {
      const next = claiming.then(claim);
      claiming = next.catch(fail);
      const claimed = await next.catch(() => undefined);
      if (claimed === undefined) return;
      try {
        claimed.settle(await work(claimed.item, thread));
      } catch (error) {
        fail(error);
        claimed.settle(FAILED);
      }
    }
  };
  await Promise.all(Array.from({ length: width }, (_, thread) => run(thread)));
  await lastTaken;
  // What failed first is what counts.
  await items.return(undefined).catch(fail);
  if (failure !== undefined) throw failure.error;
}

const FAILED = Symbol('failed');
type Failed = typeof FAILED;
