// The holes of a sparse file, by SEEK_DATA and SEEK_HOLE. Only a hint: without the file system's support there are none.
import { closeSync, openSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { HoldfastError } from '../../util/errors.ts';
import { loadFileCalls } from '../tree/file-calls.ts';
import { nextData } from '../tree/next-data.ts';
import type { Range } from './source.ts';

/** A shorter hole is read faster (20 GB/s cached) than it is told. */
const MIN_HOLE_BYTES = 65_536;
/** So many are 60 GiB of 64 KiB holes at least; what comes after is read. */
const MAX_HOLES = 1_000_000;
/** Looked at in one turn of the event loop: a millisecond. */
const RANGES_PER_TURN = 500;

export interface HolesOptions {
  /** Where holes are looked for; ascending, within the file. */
  ranges: readonly Range[];
  signal: AbortSignal;
}

/** Ascending. Throws `aborted`, and what opening the file gives. */
export async function* fileHoles(path: string, { ranges, signal }: HolesOptions): AsyncIterable<Range> {
  const calls = loadFileCalls();
  const fd = openSync(path, 'r');
  try {
    let told = 0;
    let looked = 0;
    for (const { offset, length } of ranges) {
      const stop = offset + length;
      for (let at = offset; at < stop && told < MAX_HOLES; looked += 1) {
        if (looked % RANGES_PER_TURN === RANGES_PER_TURN - 1) await nextTurn();
        if (signal.aborted)
          throw new HoldfastError('aborted', `${path}: aborted while its holes were looked up`, {
            cause: signal.reason,
          });
        const [start, end] = nextData(calls, fd, at, stop);
        if (start - at >= MIN_HOLE_BYTES) {
          yield { offset: at, length: start - at };
          told += 1;
        }
        at = end;
      }
    }
  } finally {
    closeSync(fd);
  }
}
