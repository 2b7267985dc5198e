// A change map: what changed on which disk since a base snapshot, as a file that somebody else wrote. Checked, sorted, joined.
import { readFile, stat } from 'node:fs/promises';
import { Type } from 'typebox';
import { HoldfastError } from '../../util/errors.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import type { Range } from '../sources/source.ts';

const MAX_FILE_BYTES = 512 * 1024 * 1024;
const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const ChangeMapFile = Type.Object({
  base: Type.String(),
  disks: Type.Record(Type.String(), Type.Array(Type.Object({ offset: Bytes, length: Bytes }))),
});

export interface ChangeMap {
  /** `TYPE/ID/TIME`. */
  readonly base: string;
  /** Per archive name, ascending ranges that do not touch. A disk without an entry is read in full. */
  readonly disks: ReadonlyMap<string, readonly Range[]>;
  /** Whoever made it has told already why a disk has no entry. */
  readonly isExplained?: boolean;
}

/** @throws `bad-change-map` when the file is missing or malformed. */
export async function readChangeMap(path: string): Promise<ChangeMap> {
  let text: string;
  try {
    if ((await stat(path)).size > MAX_FILE_BYTES)
      throw new HoldfastError('bad-change-map', `${path} is over ${MAX_FILE_BYTES} bytes; join its extents`);
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('bad-change-map', `cannot read the change map ${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
  try {
    const file = parseJson(text, ChangeMapFile);
    return {
      base: file.base,
      disks: new Map(Object.entries(file.disks).map(([name, extents]) => [name, joinRanges(extents)])),
    };
  } catch (cause) {
    if (!(cause instanceof JsonShapeError)) throw cause;
    throw new HoldfastError(
      'bad-change-map',
      `${path} is not a change map: ${cause.message}; it looks like {"base":"vm/101/2026-11-20T02:00:00Z","disks":{"disk0.img":[{"offset":0,"length":65536}]}}`,
      { cause },
    );
  }
}

/** Sorts ranges and joins those with no more than `gap` bytes between them; empty ones vanish. */
export function joinRanges(ranges: readonly Range[], gap = 0): Range[] {
  const joined: { offset: number; length: number }[] = [];
  for (const { offset, length } of ranges.filter((range) => range.length > 0).sort((a, b) => a.offset - b.offset)) {
    const last = joined.at(-1);
    if (last !== undefined && offset <= last.offset + last.length + gap)
      last.length = Math.max(last.length, offset + length - last.offset);
    else joined.push({ offset, length });
  }
  return joined;
}

/** Cuts ascending ranges to one window after the other: call it with ascending windows. Ranges come back window-local. */
export class RangeCursor {
  readonly #ranges: Iterator<Range> | AsyncIterator<Range>;
  #held: Range | undefined;
  #done = false;

  constructor(ranges: Iterable<Range> | AsyncIterable<Range>) {
    this.#ranges = Symbol.asyncIterator in ranges ? ranges[Symbol.asyncIterator]() : ranges[Symbol.iterator]();
  }

  async within(offset: number, length: number): Promise<Range[]> {
    const found: Range[] = [];
    for (;;) {
      if (this.#held === undefined && !this.#done) {
        const next = await this.#ranges.next();
        this.#done = next.done === true;
        if (!this.#done) this.#held = next.value as Range;
      }
      const range = this.#held;
      if (range === undefined || range.offset >= offset + length) return found;
      const from = Math.max(range.offset, offset);
      const to = Math.min(range.offset + range.length, offset + length);
      if (to > from) found.push({ offset: from - offset, length: to - from });
      // A range that goes on behind the window is needed again.
      if (range.offset + range.length > offset + length) return found;
      this.#held = undefined;
    }
  }

  /** Call when the ranges are not read to their end. */
  async close(): Promise<void> {
    await this.#ranges.return?.();
  }
}
