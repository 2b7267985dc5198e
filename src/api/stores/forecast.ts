// When the file system of a datastore will be full, from what snapshots stored until space was counted last. The figures are kept until they change.
import { readAccounting } from '../../datastore/accounting/accounting-file.ts';
import { growthOf, type StoredAt } from '../../datastore/accounting/growth.ts';
import { Layout } from '../../datastore/layout.ts';
import { RememberedFiles } from '../../util/remembered-files.ts';

/** Datastores whose figures are kept: some MB each at most. */
const MAX_KEPT = 64;
/** Those of the day when they were read: `growthOf` looks no further back. */
const MAX_AGE_SECONDS = 62 * 86_400;

export class Forecasts {
  readonly #kept = new RememberedFiles<readonly StoredAt[]>(MAX_KEPT);

  /**
   * Unix seconds: 0 when nothing grows or it is more than ten years ahead, undefined with too little to tell from. `now` in Unix seconds, `freeBytes` of
   * the file system.
   */
  async fullAt(path: string, freeBytes: number, now: number): Promise<number | undefined> {
    const { bytesPerDay, fullOn } = growthOf(await this.#stored(path, now), freeBytes, now);
    if (bytesPerDay === null) return undefined;
    return fullOn === null ? 0 : Date.parse(fullOn) / 1000;
  }

  async #stored(path: string, now: number): Promise<readonly StoredAt[]> {
    const layout = new Layout(path);
    const stored = await this.#kept.get(layout.accounting, async () => {
      const accounting = await readAccounting(layout);
      const value = (accounting?.snapshots ?? [])
        .filter(({ time }) => time > now - MAX_AGE_SECONDS)
        .map(({ time, bytesStored, suspectClock }) => ({ time, bytesStored, suspectClock }));
      return { value, cost: 1 };
    });
    return stored ?? [];
  }
}
