// Work that finds further work, by a few lanes at once: what was found last is done first, so that what waits stays as small as a tree is deep.

/**
 * Runs `work` on every item and on all that it answers with, `width` at a time; of what one item answers the last is done first. Ends with
 * the first failure, once no lane works any more.
 */
export async function depthFirst<Item>(
  width: number,
  seeds: readonly Item[],
  work: (item: Item, lane: number) => Promise<readonly Item[]>,
): Promise<void> {
  const stack = [...seeds];
  let running = 0;
  let failure: { readonly error: unknown } | undefined;
  let idle: (() => void)[] = [];
  const lane = async (number: number): Promise<void> => {
    while (failure === undefined) {
      const item = stack.pop();
      if (item === undefined) {
        if (running === 0) return;
        await new Promise<void>((resolve) => idle.push(resolve));
        continue;
      }
      running++;
      try {
        for (const found of await work(item, number)) stack.push(found);
      } catch (error) {
        failure ??= { error };
      } finally {
        running--;
        const woken = idle;
        idle = [];
        for (const wake of woken) wake();
      }
    }
  };
  await Promise.all(Array.from({ length: width }, (_, number) => lane(number)));
  if (failure !== undefined) throw failure.error;
}
