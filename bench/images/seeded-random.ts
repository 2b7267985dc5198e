// Repeatable randomness for test images: the AES-128-CTR key stream of a seed. The same seed gives the same bytes on any machine.
import { type Cipher, createCipheriv, createHash } from 'node:crypto';

const POOL_BYTES = 1 << 16;

export class SeededRandom {
  readonly #cipher: Cipher;
  #pool: Buffer = Buffer.alloc(0);
  #used = 0;

  constructor(seed: string) {
    this.#cipher = createCipheriv(
      'aes-128-ctr',
      createHash('sha256').update(seed).digest().subarray(0, 16),
      Buffer.alloc(16),
    );
  }

  /** Incompressible bytes. */
  bytes(length: number): Buffer {
    return this.#cipher.update(Buffer.alloc(length));
  }

  /** A number in [0, 1). */
  fraction(): number {
    if (this.#used + 4 > this.#pool.length) {
      this.#pool = this.bytes(POOL_BYTES);
      this.#used = 0;
    }
    const value = this.#pool.readUInt32LE(this.#used) / 2 ** 32;
    this.#used += 4;
    return value;
  }

  /** A whole number in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** A whole number in [low, high], small ones as likely as large ones in each doubling. */
  logUniform(low: number, high: number): number {
    return Math.min(high, Math.floor(low * ((high + 1) / low) ** this.fraction()));
  }
}
