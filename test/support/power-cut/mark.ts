// Marks: numbers that a program under test writes into the log of all disk writes whenever it has acknowledged something.
// They go through the loop device, past the page cache, behind the end of the file system, so they keep their order.
import { closeSync, constants, openSync, writeSync } from 'node:fs';

export const MARK_BYTES = 4096;

/** Where marks go; plain data, so that it can be passed to a child process. */
export interface MarkTarget {
  readonly device: string;
  readonly offset: number;
}

/** Callable from any process, also while the file system is mounted. Returns when the mark stands in the log. */
export function writeMark(device: string, offset: number, n: number): void {
  const fd = openSync(device, constants.O_WRONLY | constants.O_DIRECT);
  try {
    // O_DIRECT needs aligned memory, which only WebAssembly gives.
    const block = new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer, 0, MARK_BYTES);
    new TextEncoder().encodeInto(`MARK ${n}\0`, block);
    const written = writeSync(fd, block, 0, MARK_BYTES, offset);
    if (written !== MARK_BYTES) throw new Error(`mark ${n} on ${device}: ${written} bytes written`);
  } finally {
    closeSync(fd);
  }
}

/** The number in a block that was written to the mark area, or undefined. */
export function markIn(block: Uint8Array): number | undefined {
  const match = /^MARK (\d+)\0/.exec(new TextDecoder('latin1').decode(block.subarray(0, 32)));
  return match ? Number(match[1]) : undefined;
}
