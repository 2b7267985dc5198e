// The parameters of the cut rules, as the manifest of a snapshot names them. Together with an algorithm's name they fix
// every cut point: equal parameters, equal pieces. The rules stand at the head of wasm/chunker.ts.
import type { CutRecord } from '../schema/manifest.ts';
import { HoldfastError } from '../util/errors.ts';

const KIB = 1024;

interface CutSizes {
  /** No data piece is shorter, but before a hole and at the end of a page or stream. Always averageBytes / 4. */
  readonly minBytes: number;
  readonly averageBytes: number;
  /** No data piece is longer. Always averageBytes * 4. */
  readonly maxBytes: number;
  /** 16 bytes as 32 lower-case hex digits. */
  readonly cutSeed: string;
}

/** Cuts at 4 KiB-aligned positions of a page. */
export interface DiskCutParameters extends CutSizes {
  readonly algorithm: 'blk4k-1';
}

/** Cuts at any byte of a stream. */
export interface StreamCutParameters extends CutSizes {
  readonly algorithm: 'simd-1';
}

/**
 * The seed of every plain snapshot, so that all stores cut alike: 16 bytes of SHA-256("Holdfast public cut seed, draw 123").
 * Of 128 draws, the one whose mean piece strays least over nine kinds of text and programs (55 to 109 KiB; the median draw
 * reaches 150 KiB on lists of paths).
 */
export const PUBLIC_CUT_SEED = '34925a10bc355cbbee0c577924eb7db0';

export const DEFAULT_AVERAGE_BYTES = 64 * KIB;
/** For stores whose index would outgrow the memory (beyond some 20 TB). */
export const LARGE_STORE_AVERAGE_BYTES = 256 * KIB;
/** Every average that the cut rules know: the powers of two from 16 KiB to 1 MiB. */
export const SUPPORTED_AVERAGE_BYTES: readonly number[] = [16, 32, 64, 128, 256, 512, 1024].map((size) => size * KIB);

/** Throws `bad-argument` when the average is not supported or the seed is not 32 hex digits. */
export function diskCutParameters(
  averageBytes: number = DEFAULT_AVERAGE_BYTES,
  cutSeed: string = PUBLIC_CUT_SEED,
): DiskCutParameters {
  return checkDiskCutParameters({ algorithm: 'blk4k-1', ...sizes(averageBytes), cutSeed });
}

/** Throws `bad-argument` when the average is not supported or the seed is not 32 hex digits. */
export function streamCutParameters(
  averageBytes: number = DEFAULT_AVERAGE_BYTES,
  cutSeed: string = PUBLIC_CUT_SEED,
): StreamCutParameters {
  return checkStreamCutParameters({ algorithm: 'simd-1', ...sizes(averageBytes), cutSeed });
}

/** The parameters as a manifest tells them: a seed that is not the public one is a secret. */
export function cutRecord(parameters: DiskCutParameters | StreamCutParameters): CutRecord {
  const { cutSeed, ...sizes } = parameters;
  return cutSeed === PUBLIC_CUT_SEED ? { ...sizes, cutSeed } : sizes;
}

/** Returns its argument; throws `bad-argument` when this version cannot cut by it. */
export function checkDiskCutParameters(parameters: DiskCutParameters): DiskCutParameters {
  check(parameters, 'blk4k-1');
  return parameters;
}

/** Returns its argument; throws `bad-argument` when this version cannot cut by it. */
export function checkStreamCutParameters(parameters: StreamCutParameters): StreamCutParameters {
  check(parameters, 'simd-1');
  return parameters;
}

function sizes(averageBytes: number): Omit<CutSizes, 'cutSeed'> {
  return { minBytes: averageBytes / 4, averageBytes, maxBytes: averageBytes * 4 };
}

function check(parameters: CutSizes & { readonly algorithm: string }, algorithm: string): void {
  const { minBytes, averageBytes, maxBytes, cutSeed } = parameters;
  const data = { algorithm: parameters.algorithm, minBytes, averageBytes, maxBytes };
  if (parameters.algorithm !== algorithm) {
    throw new HoldfastError('bad-argument', `cut algorithm ${parameters.algorithm} is not ${algorithm}`, { data });
  }
  if (!SUPPORTED_AVERAGE_BYTES.includes(averageBytes)) {
    const supported = SUPPORTED_AVERAGE_BYTES.map((size) => `${size / KIB} KiB`).join(', ');
    throw new HoldfastError('bad-argument', `an average chunk of ${averageBytes} bytes is not one of ${supported}`, {
      data,
    });
  }
  if (minBytes !== averageBytes / 4 || maxBytes !== averageBytes * 4) {
    throw new HoldfastError(
      'bad-argument',
      `chunk bounds ${minBytes} and ${maxBytes} are not a quarter and four times the average ${averageBytes}`,
      { data },
    );
  }
  if (!/^[0-9a-f]{32}$/.test(cutSeed)) {
    // An encrypted snapshot's seed is secret, so no error shows one.
    throw new HoldfastError('bad-argument', 'the cut seed is not 32 lower-case hex digits');
  }
}
