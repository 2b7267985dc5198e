// The blocks of 4 KiB that the test guest writes, read on the host: each says where it belongs and by which write it came, and has a
// checksum, so that a torn block and a block from elsewhere are seen. Little-endian: "HFBLOCK1", block number u64, sequence u64, time in
// ns u64, kind u32, seed u32, filler, CRC-32 of all before it.
import { closeSync, openSync, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';

export const TEST_BLOCK_BYTES = 4096;
const MAGIC = 'HFBLOCK1';
const CHECKSUM_AT = TEST_BLOCK_BYTES - 4;
const KINDS = ['', 'counter', 'load', 'write'] as const;

export interface TestBlock {
  readonly kind: (typeof KINDS)[number];
  readonly sequence: number;
  readonly timeMs: number;
  readonly seed: number;
}

export interface BlockSurvey {
  readonly zero: number;
  readonly whole: number;
  readonly highestSequence: number;
  /** Numbers of blocks with our magic and a wrong checksum. */
  readonly torn: readonly number[];
  /** Whole, and written for another place. */
  readonly foreign: readonly number[];
  /** Neither zero nor ours. */
  readonly other: readonly number[];
}

/** What a whole block says, or undefined for one that is torn, foreign or not ours. */
export function readTestBlock(block: Buffer, number: number): TestBlock | undefined {
  return stateOf(block, number) === 'whole' ? describe(block) : undefined;
}

/** Of an image in raw format, an area whose bounds are multiples of 4 KiB. */
export function surveyBlocks(image: string, offset: number, length: number): BlockSurvey {
  const survey = {
    zero: 0,
    whole: 0,
    highestSequence: 0,
    torn: [] as number[],
    foreign: [] as number[],
    other: [] as number[],
  };
  const fd = openSync(image, 'r');
  try {
    const block = Buffer.alloc(TEST_BLOCK_BYTES);
    for (let at = offset; at < offset + length; at += TEST_BLOCK_BYTES) {
      const number = at / TEST_BLOCK_BYTES;
      block.fill(0);
      readSync(fd, block, 0, TEST_BLOCK_BYTES, at);
      const state = stateOf(block, number);
      if (state === 'zero') survey.zero++;
      else if (state !== 'whole') survey[state].push(number);
      else {
        survey.whole++;
        survey.highestSequence = Math.max(survey.highestSequence, describe(block).sequence);
      }
    }
  } finally {
    closeSync(fd);
  }
  return survey;
}

/** The counter that stands on an image in raw format; 0 where none was written. @throws Error for a torn block. */
export function readCounter(image: string, offset = 0): number {
  const survey = surveyBlocks(image, offset, TEST_BLOCK_BYTES);
  if (survey.zero === 0 && survey.whole === 0) throw new Error(`${image} holds no counter at ${offset}`);
  return survey.highestSequence;
}

/** What the command `write DISK OFFSET LENGTH SEED` puts there. */
export function writtenBlocks(offset: number, length: number, seed: number): Buffer {
  const blocks = Buffer.alloc(length);
  for (let at = 0; at < length; at += TEST_BLOCK_BYTES)
    fillWritten(blocks.subarray(at, at + TEST_BLOCK_BYTES), (offset + at) / TEST_BLOCK_BYTES, seed);
  return blocks;
}

const ZEROS = Buffer.alloc(TEST_BLOCK_BYTES);

function stateOf(block: Buffer, number: number): 'zero' | 'whole' | 'torn' | 'foreign' | 'other' {
  if (block.equals(ZEROS)) return 'zero';
  if (block.toString('latin1', 0, 8) !== MAGIC) return 'other';
  if (crc32(block.subarray(0, CHECKSUM_AT)) !== block.readUInt32LE(CHECKSUM_AT)) return 'torn';
  return Number(block.readBigUInt64LE(8)) === number ? 'whole' : 'foreign';
}

function describe(block: Buffer): TestBlock {
  return {
    kind: KINDS[block.readUInt32LE(32)] ?? '',
    sequence: Number(block.readBigUInt64LE(16)),
    timeMs: Number(block.readBigUInt64LE(24) / 1_000_000n),
    seed: block.readUInt32LE(36),
  };
}

function fillWritten(block: Buffer, number: number, seed: number): void {
  block.write(MAGIC, 'latin1');
  block.writeBigUInt64LE(BigInt(number), 8);
  block.writeUInt32LE(KINDS.indexOf('write'), 32);
  block.writeUInt32LE(seed, 36);
  let state = (seed ^ Math.imul(number, 0x9e3779b1) ^ 0) | 1;
  for (let at = 40; at < CHECKSUM_AT; at += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    block.writeInt32LE(state, at);
  }
  block.writeUInt32LE(crc32(block.subarray(0, CHECKSUM_AT)), CHECKSUM_AT);
}
