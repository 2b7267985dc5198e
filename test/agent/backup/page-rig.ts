// A PageCutter with its memory, disks that lie in memory, and generators of disks and of changes to them.

import fc from 'fast-check';
import { PAGE_LANES, PageCutter, type PageResult } from '../../../src/agent/backup/page-cutter.ts';
import type { Foresight } from '../../../src/agent/object-sink.ts';
import { joinRanges } from '../../../src/agent/sources/ranges.ts';
import type { DiskReader, Range } from '../../../src/agent/sources/source.ts';
import { diskCutParameters } from '../../../src/chunker/cut-parameters.ts';
import { createCutter } from '../../../src/chunker/cutter.ts';
import type { ObjectId } from '../../../src/chunker/object.ts';
import { Arena } from '../../../src/util/arena.ts';
import { pattern } from '../nbd/servers.ts';
import { MemorySink } from './memory-sink.ts';

export const BLOCK = 4096;

/** Reads from bytes in memory and notes what it was asked for. */
export class MemoryReader implements DiskReader {
  readonly sizeBytes: number;
  readonly reads: Range[] = [];
  readonly #bytes: Uint8Array;
  readonly #isSlow: boolean;

  /** `isSlow`: reads end in a later turn of the event loop, like those over a socket. */
  constructor(bytes: Uint8Array, isSlow = false) {
    this.#bytes = bytes;
    this.#isSlow = isSlow;
    this.sizeBytes = bytes.length;
  }

  readInto(offset: number, target: Uint8Array): Promise<void> | undefined {
    if (offset + target.length > this.#bytes.length)
      throw new Error(`read of ${target.length} at ${offset} past the end`);
    this.reads.push({ offset, length: target.length });
    const fill = () => target.set(this.#bytes.subarray(offset, offset + target.length));
    if (!this.#isSlow) return void fill();
    return new Promise((resolve) =>
      setImmediate(() => {
        fill();
        resolve();
      }),
    );
  }

  async close(): Promise<void> {}
}

export class PageRig {
  readonly sink: MemorySink;
  readonly averageBytes: number;
  readonly #lanes: readonly PageCutter[];

  constructor(averageBytes: number) {
    this.averageBytes = averageBytes;
    const windowBytes = PageCutter.windowBytes(4 * averageBytes);
    const arena = new Arena(65536 + PAGE_LANES * (windowBytes + 4096) + 8192);
    const cutter = createCutter(arena.memory);
    cutter.setDisk(diskCutParameters(averageBytes));
    this.#lanes = Array.from({ length: PAGE_LANES }, () => new PageCutter(cutter, arena.allocate(windowBytes)));
    for (const lane of this.#lanes) lane.setMaxPiece(4 * averageBytes);
    this.sink = new MemorySink(arena.bytes);
  }

  get #cutter(): PageCutter {
    return this.#lanes[0] as PageCutter;
  }

  /** Backs up pages as a thread does: in every lane one, all at once. */
  async sideBySide(pages: readonly Uint8Array[]): Promise<PageResult[]> {
    return await Promise.all(
      pages.map(async (bytes, lane) => {
        const work = { offset: 0, length: bytes.length, zeros: [], base: undefined };
        return await (this.#lanes[lane] as PageCutter).run(work, new MemoryReader(bytes, true), this.sink);
      }),
    );
  }

  /** Backs up the one page of a disk from nothing. */
  async full(bytes: Uint8Array, zeros: readonly Range[] = [], reader = new MemoryReader(bytes)): Promise<PageResult> {
    return await this.#cutter.run({ offset: 0, length: bytes.length, zeros, base: undefined }, reader, this.sink);
  }

  /** Backs it up where the base may have the same page, with a sink that has foresight. */
  async expecting(bytes: Uint8Array, expected: ObjectId, foresight: Foresight): Promise<PageResult> {
    const work = { offset: 0, length: bytes.length, zeros: [], base: undefined, expected };
    return await this.#cutter.run(work, new MemoryReader(bytes), Object.assign(this.sink, { foresight }));
  }

  /** Backs it up on top of an earlier page. */
  async incremental(
    bytes: Uint8Array,
    page: ObjectId | undefined,
    changed: readonly Range[],
    reader = new MemoryReader(bytes),
    zeros: readonly Range[] = [],
  ): Promise<PageResult> {
    return await this.#cutter.run(
      { offset: 0, length: bytes.length, zeros, base: { page, changed } },
      reader,
      this.sink,
    );
  }
}

/** Bytes of one kind: noise of a seed (few seeds: duplicates), zeros, or one repeated byte, which has no cut points. */
export interface Fill {
  readonly kind: 'noise' | 'zero' | 'repeated';
  readonly seed: number;
}

export function fillBytes(fill: Fill, length: number): Buffer {
  if (fill.kind === 'zero') return Buffer.alloc(length);
  if (fill.kind === 'repeated') return Buffer.alloc(length, 1 + (fill.seed % 255));
  return pattern(length + 4, fill.seed + 1).subarray(0, length);
}

const fills: fc.Arbitrary<Fill> = fc.record({
  kind: fc.constantFrom('noise', 'zero', 'repeated'),
  seed: fc.integer({ min: 1, max: 6 }),
});

/** A disk of at most some 2 MiB: runs of whole blocks, and an end that may stand anywhere. A counterexample prints short. */
export interface DiskRecipe {
  readonly runs: readonly (readonly [fill: Fill, blocks: number])[];
  readonly tail: number;
  readonly tailFill: Fill;
}

export const disks: fc.Arbitrary<DiskRecipe> = fc.record({
  runs: fc.array(fc.tuple(fills, fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 40 }))), {
    minLength: 1,
    maxLength: 14,
  }),
  tail: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: BLOCK - 1 })),
  tailFill: fills,
});

export function makeDisk({ runs, tail, tailFill }: DiskRecipe): Buffer {
  return Buffer.concat([...runs.map(([fill, blocks]) => fillBytes(fill, blocks * BLOCK)), fillBytes(tailFill, tail)]);
}

/** A write to a disk; places are shares of its length, so that one change fits every disk. */
export interface Change {
  readonly at: number;
  readonly unit: number;
  readonly length: number;
  readonly fill: Fill;
  /** Bytes that the map names too although they did not change. */
  readonly before: number;
  readonly behind: number;
}

export const changes: fc.Arbitrary<Change> = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  unit: fc.constantFrom(1, 512, BLOCK, 4 * BLOCK),
  length: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 100_000 })),
  fill: fills,
  before: fc.constantFrom(0, 0, 0, 1, 5000),
  behind: fc.constantFrom(0, 0, 0, 1, 5000),
});

/** What a change writes, aligned to its unit and cut to the disk. */
export function placeOf(change: Change, sizeBytes: number): Range {
  const offset = Math.min(Math.floor((change.at * sizeBytes) / change.unit) * change.unit, sizeBytes - 1);
  const wanted = change.unit === 1 ? change.length : Math.ceil(change.length / change.unit) * change.unit;
  return { offset, length: Math.min(wanted, sizeBytes - offset) };
}

/** The disk after the changes, and a map that names at least what they wrote. */
export function applyChanges(
  disk: Uint8Array,
  list: readonly Change[],
  sizeBytes = disk.length,
): { bytes: Buffer; changed: Range[] } {
  const bytes = Buffer.alloc(sizeBytes);
  bytes.set(disk.subarray(0, sizeBytes));
  const changed: Range[] = [];
  for (const change of list) {
    const { offset, length } = placeOf(change, sizeBytes);
    bytes.set(fillBytes(change.fill, length), offset);
    const from = Math.max(0, offset - change.before);
    changed.push({ offset: from, length: Math.min(sizeBytes, offset + length + change.behind) - from });
  }
  // What was cut off or appended counts as changed; beyond the end of the page it is only a hint for the cut before it.
  if (sizeBytes !== disk.length) {
    changed.push({ offset: Math.min(sizeBytes, disk.length), length: Math.abs(sizeBytes - disk.length) });
  }
  return { bytes, changed: joinRanges(changed) };
}
