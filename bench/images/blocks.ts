// The 4 KiB blocks of an image: which hold data, and how two images differ. Reads through a fixed window, never the whole file.
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';

export const BLOCK_BYTES = 4096;
const WINDOW_BYTES = 4 << 20;
const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** Calls `visit` with every window of the first `limit` bytes of the file; the buffer is reused. */
export function scan(
  path: string,
  visit: (window: Buffer, offset: number) => void,
  limit = Number.POSITIVE_INFINITY,
): void {
  const file = openSync(path, 'r');
  try {
    const size = Math.min(limit, fstatSync(file).size);
    const buffer = Buffer.allocUnsafe(WINDOW_BYTES);
    for (let offset = 0; offset < size; ) {
      const count = readSync(file, buffer, 0, Math.min(WINDOW_BYTES, size - offset), offset);
      if (count === 0) throw new Error(`${path} became shorter while it was read`);
      visit(buffer.subarray(0, count), offset);
      offset += count;
    }
  } finally {
    closeSync(file);
  }
}

function forEachBlock(window: Buffer, offset: number, visit: (block: Buffer, index: number) => void): void {
  for (let at = 0; at < window.length; at += BLOCK_BYTES) {
    visit(window.subarray(at, Math.min(at + BLOCK_BYTES, window.length)), (offset + at) / BLOCK_BYTES);
  }
}

const isZero = (block: Buffer): boolean =>
  block.equals(block.length === BLOCK_BYTES ? ZERO_BLOCK : ZERO_BLOCK.subarray(0, block.length));

/** One byte per block of the image: 1 where it holds anything but zeros. */
export function dataBlocks(path: string, sizeBytes: number): Uint8Array {
  const map = new Uint8Array(Math.ceil(sizeBytes / BLOCK_BYTES));
  scan(path, (window, offset) =>
    forEachBlock(window, offset, (block, index) => {
      map[index] = isZero(block) ? 0 : 1;
    }),
  );
  return map;
}

/** Writes the blocks that are not zero, one after another, to `target`; returns their bytes. The C floor runs on this file. */
export function writeDataBlocks(source: string, target: string): number {
  const file = openSync(target, 'w');
  let written = 0;
  try {
    scan(source, (window, offset) => {
      const kept: Buffer[] = [];
      forEachBlock(window, offset, (block) => {
        if (!isZero(block)) kept.push(block);
      });
      if (kept.length > 0) written += writeSync(file, Buffer.concat(kept));
    });
  } finally {
    closeSync(file);
  }
  return written;
}

/** The indexes of the blocks that differ between two files of the same size, or within their first `limit` bytes. */
export function changedBlocks(before: string, after: string, limit?: number): number[] {
  const changed: number[] = [];
  const file = openSync(after, 'r');
  const other = Buffer.allocUnsafe(WINDOW_BYTES);
  try {
    scan(
      before,
      (window, offset) => {
        const count = readSync(file, other, 0, window.length, offset);
        if (count !== window.length) throw new Error(`${after} is shorter than ${before}`);
        if (window.equals(other.subarray(0, count))) return;
        forEachBlock(window, offset, (block, index) => {
          const at = index * BLOCK_BYTES - offset;
          if (!block.equals(other.subarray(at, at + block.length))) changed.push(index);
        });
      },
      limit,
    );
  } finally {
    closeSync(file);
  }
  return changed;
}
