// The cut rules once more, slow and plain, written from the text at the head of src/chunker/wasm/chunker.ts: works on a
// whole page or stream at once. What the WebAssembly says must agree with it.
import type { DiskCutParameters, StreamCutParameters } from '../../src/chunker/cut-parameters.ts';

export interface Piece {
  readonly length: number;
  readonly hole: boolean;
}

const BLOCK = 4096;
const U64 = (1n << 64n) - 1n;

function* seedWords(tag: string, cutSeed: string): Generator<bigint, never> {
  const seed = Buffer.from(cutSeed, 'hex');
  const high = seed.readBigUInt64LE(8);
  let state = seed.readBigUInt64LE(0) ^ Buffer.from(tag.padEnd(8, '\0'), 'latin1').readBigUInt64LE(0);
  for (;;) {
    state = (state + 0x9e3779b97f4a7c15n) & U64;
    let z = (((state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n) & U64) ^ high;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & U64;
    yield z ^ (z >> 31n);
  }
}

function takeBytes(words: Generator<bigint, never>, count: number): Buffer {
  const bytes = Buffer.alloc(count * 8);
  for (let index = 0; index < count; index++) bytes.writeBigUInt64LE(words.next().value, index * 8);
  return bytes;
}

const rotate = (value: number, bits: number) => (value << bits) | (value >>> (32 - bits));
const mix = (value: number, shift: number, factor: number) => Math.imul(value ^ (value >>> shift), factor);

/** Hashes a whole block of 4096 bytes to an unsigned 32 bit number. */
export function blockHasher(cutSeed: string): (block: Uint8Array) => number {
  const words = seedWords('blk4k-1', cutSeed);
  const initialBytes = takeBytes(words, 8);
  const multiplierBytes = takeBytes(words, 2);
  const initial = Array.from({ length: 16 }, (_, index) => initialBytes.readInt32LE(index * 4));
  const multipliers = Array.from({ length: 4 }, (_, index) => (multiplierBytes.readInt32LE(index * 4) & ~7) | 5);
  return (block) => {
    const view = new DataView(block.buffer, block.byteOffset, BLOCK);
    const a = [...initial];
    for (let word = 0; word < BLOCK / 4; word++) {
      a[word % 16] = Math.imul(a[word % 16] ^ view.getInt32(word * 4, true), multipliers[word % 4]);
    }
    let h = 0;
    for (let i = 0; i < 4; i++) {
      const sum = (a[i] + rotate(a[4 + i], 7) + rotate(a[8 + i], 13) + rotate(a[12 + i], 19)) | 0;
      h += rotate(mix(mix(sum, 15, 0x85ebca77), 13, 0xc2b2ae3d), i * 8);
    }
    h = mix(mix(h | 0, 16, 0x85ebca6b), 13, 0xc2b2ae35);
    return (h ^ (h >>> 16)) >>> 0;
  };
}

/** The pieces of one page, from its start to its end. Neighbouring holes are one hole. */
export function referenceDiskPieces(page: Uint8Array, parameters: DiskCutParameters): Piece[] {
  const hash = blockHasher(parameters.cutSeed);
  const blocks = Math.ceil(page.length / BLOCK);
  const block = (index: number) => page.subarray(index * BLOCK, (index + 1) * BLOCK);
  // runs[i] = number of zero blocks from block i on
  const runs = new Array<number>(blocks + 1).fill(0);
  for (let index = blocks - 1; index >= 0; index--) {
    runs[index] = block(index).every((byte) => byte === 0) ? runs[index + 1] + 1 : 0;
  }
  const matches = (index: number, at: number) => {
    if (at < parameters.minBytes || block(index).length < BLOCK) return false;
    const bits = Math.log2(parameters.averageBytes / BLOCK) + (at < parameters.averageBytes ? 1 : -1);
    return hash(block(index)) < 2 ** (32 - bits);
  };
  const pieces: Piece[] = [];
  const add = (from: number, to: number, hole: boolean) =>
    pieces.push({ length: Math.min(to * BLOCK, page.length) - from * BLOCK, hole });
  for (let start = 0; start < blocks; ) {
    let end = start + runs[start];
    if (runs[start] >= 4 || (runs[start] > 0 && end === blocks)) {
      add(start, end, true);
    } else {
      end += 1;
      while (end < blocks) {
        const at = (end - start) * BLOCK;
        if (at >= parameters.maxBytes || runs[end] >= 4 || matches(end, at)) break;
        end++;
      }
      add(start, end, false);
    }
    start = end;
  }
  return pieces;
}

/** The lengths of the pieces of a whole stream. */
export function referenceStreamLengths(stream: Uint8Array, parameters: StreamCutParameters): number[] {
  const words = seedWords('simd-1', parameters.cutSeed);
  const low = takeBytes(words, 2);
  const high = takeBytes(words, 2);
  const key = words.next().value;
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  const g = (i: number) => low[stream[i] & 15] + high[stream[i] >> 4];
  // The three steps multiplied out: each tap is a subset of the steps 5 (factor 3), 7 (-1) and 11 (-1).
  const c = (i: number) =>
    (g(i) + 3 * g(i - 5) - g(i - 7) - 3 * g(i - 12) - g(i - 11) - 3 * g(i - 16) + g(i - 18) + 3 * g(i - 23)) & 255;
  const hash = (i: number) => {
    let h = key;
    for (let word = 0; word < 4; word++) {
      h = ((h ^ view.getBigUint64(i - 31 + word * 8, true)) * 0x9fb21c651e98df25n) & U64;
      h ^= h >> 32n;
    }
    return (h * 0x9e3779b97f4a7c15n) & U64;
  };
  const lengths: number[] = [];
  for (let start = 0; start < stream.length; ) {
    const limit = Math.min(stream.length - start, parameters.maxBytes);
    let length = Math.min(parameters.minBytes, limit);
    for (; length < limit; length++) {
      const last = start + length - 1;
      if (c(last) !== 91) continue;
      const bits = Math.log2(parameters.averageBytes) - 8 + (length < parameters.averageBytes ? 1 : -1);
      if (hash(last) >> BigInt(64 - bits) === 0n) break;
    }
    lengths.push(length);
    start += length;
  }
  return lengths;
}
