// zstd with one context per thread, into and out of buffers that the caller owns (a new context per chunk costs a third).
import { createRequire } from 'node:module';

const binding = createRequire(import.meta.url)('zstd-napi/binding.js') as typeof import('zstd-napi/binding.js');

/** Most bytes that `length` bytes can take when compressed. */
export function compressBound(length: number): number {
  return binding.compressBound(length);
}

/** One thread's compressor of a fixed level. */
export class Compressor {
  readonly #context = new binding.CCtx();

  /** `withChecksum` is for frames that leave us: records have a checksum of their own. */
  constructor(level: number, withChecksum = false) {
    this.#context.setParameter(binding.CParameter.compressionLevel, level);
    if (withChecksum) this.#context.setParameter(binding.CParameter.checksumFlag, 1);
  }

  /** Compresses `source` into `target` (at least `compressBound` bytes); returns the bytes written. */
  compress(target: Uint8Array, source: Uint8Array): number {
    return this.#context.compress2(target, source);
  }
}

/** One thread's decompressor. */
export class Decompressor {
  readonly #context = new binding.DCtx();

  /** Decompresses one frame into `target`; returns the bytes written. Throws when the frame is bad or larger than `target`. */
  decompress(target: Uint8Array, source: Uint8Array): number {
    return this.#context.decompress(target, source);
  }
}
