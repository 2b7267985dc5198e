// Deterministic bytes for the chunker's tests, simple enough for any other implementation to reproduce.

/**
 * xorshift32: state = seed (a u32, not 0); for each word: state ^= state << 13; state ^= state >>> 17; state ^= state << 5.
 * The bytes are the states after each step as little-endian u32.
 */
export function xorshiftBytes(seed: number, length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed;
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** How a golden input is made: xorshift bytes, each ANDed with `mask`, then ranges [offset, length] set to zero. */
export interface InputRecipe {
  readonly seed: number;
  readonly sizeBytes: number;
  readonly mask: number;
  readonly zeros: readonly (readonly [offset: number, length: number])[];
}

export function makeInput(recipe: InputRecipe): Uint8Array {
  const bytes = xorshiftBytes(recipe.seed, recipe.sizeBytes).map((byte) => byte & recipe.mask);
  for (const [offset, length] of recipe.zeros) bytes.fill(0, offset, offset + length);
  return bytes;
}

/** Kinds of blocks that the disk rule tells apart: noise, zeros, zeros but for the last or first byte, one repeated byte. */
export const BLOCK_KINDS = ['noise', 'zero', 'last', 'first', 'repeated'] as const;
export type BlockKind = (typeof BLOCK_KINDS)[number];

/** A page as runs of blocks of one kind, the last block cut to `tailBytes`; `seed` is that of the noise. */
export interface PageRecipe {
  readonly seed: number;
  readonly runs: readonly (readonly [kind: BlockKind, count: number])[];
  readonly tailBytes: number;
}

export function makePage({ seed, runs, tailBytes }: PageRecipe): Uint8Array {
  const kinds = runs.flatMap(([kind, count]) => Array<BlockKind>(count).fill(kind));
  const page = xorshiftBytes(seed, Math.max(0, kinds.length * 4096 - 4096 + tailBytes));
  kinds.forEach((kind, index) => {
    const block = page.subarray(index * 4096, (index + 1) * 4096);
    if (kind === 'repeated') block.fill(0x41);
    else if (kind !== 'noise') block.fill(0);
    if (kind === 'last') block[block.length - 1] = 1;
    if (kind === 'first') block[0] = 1;
  });
  return page;
}

/** Draws a page with one letter per block: x noise, 0 zero. */
export function drawPage(picture: string, tailBytes = 4096): Uint8Array {
  const runs = [...picture].map((letter) => [letter === 'x' ? 'noise' : 'zero', 1] as const);
  return makePage({ seed: 4, runs, tailBytes: picture === '' ? 0 : tailBytes });
}

/** A stream as stretches of xorshift bytes, each byte ANDed with a mask. */
export type StreamRecipe = readonly (readonly [seed: number, mask: number, length: number])[];

export function makeStream(stretches: StreamRecipe): Uint8Array {
  return Buffer.concat(stretches.map(([seed, mask, length]) => xorshiftBytes(seed, length).map((byte) => byte & mask)));
}
