// Chooses the moments at which the power fails, from the entries of a log. Pure, and the same for the same seed.
import type { LogEntry } from './write-log.ts';

/**
 * `prefix`: every write before the cut reached the disk, in order. `cache`: what was flushed did, and of the later writes a
 * seeded random part, as from a volatile cache that writes in any order and in blocks of 4 KiB.
 */
export type CrashMode = 'prefix' | 'cache';

export interface CrashPoint {
  readonly mode: CrashMode;
  /** The cut is before this entry of the log. */
  readonly entry: number;
  /** Decides which unflushed writes survive. */
  readonly seed: number;
}

export interface CrashChoice {
  mode: CrashMode;
  count: number;
  seed: number;
}

/**
 * At most `count` points in the order of the log. First the moments right after each mark, then those before the last write
 * (prefix) or flush (cache) ahead of each mark, then flush boundaries and moments between, each spread evenly.
 */
export function chooseCrashPoints(entries: readonly LogEntry[], choice: CrashChoice): CrashPoint[] {
  const random = randomNumbers(choice.seed);
  const chosen = new Set<number>();
  const take = (candidates: number[], budget: number) => {
    const fresh = [...new Set(candidates)].filter((entry) => !chosen.has(entry)).sort((a, b) => a - b);
    for (const entry of spread(fresh, Math.min(budget, choice.count - chosen.size), random)) chosen.add(entry);
  };
  const marks = entries.flatMap((entry, index) => (entry.mark === undefined ? [] : [index]));
  take(
    marks.map((mark) => mark + 1),
    choice.count,
  );
  take(
    marks.map((mark) => before(entries, mark, choice.mode)),
    choice.count,
  );
  const flushes = entries.flatMap((entry, index) =>
    entry.flush ? [choice.mode === 'prefix' ? index + 1 : index] : [],
  );
  take(flushes, Math.ceil((choice.count - chosen.size) / 2));
  take(
    Array.from({ length: entries.length + 1 }, (_, index) => index),
    choice.count,
  );
  return [...chosen].sort((a, b) => a - b).map((entry) => ({ mode: choice.mode, entry, seed: choice.seed }));
}

/** The last moment at which what the mark acknowledges was not yet safe. */
function before(entries: readonly LogEntry[], mark: number, mode: CrashMode): number {
  const last = (wanted: (entry: LogEntry) => boolean) => {
    for (let at = mark - 1; at >= 0; at--) if (entries[at]!.mark === undefined && wanted(entries[at]!)) return at;
    return 0;
  };
  return mode === 'cache' ? last((entry) => entry.flush) : last((entry) => entry.lengthBytes > 0);
}

/** One of each of `count` equal stretches of the list. */
function spread(list: readonly number[], count: number, random: () => number): number[] {
  if (list.length <= count) return [...list];
  return Array.from({ length: count }, (_, at) => list[Math.floor(((at + random()) * list.length) / count)]!);
}

/** mulberry32: numbers in [0, 1). */
export function randomNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
