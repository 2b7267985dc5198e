// Where restored bytes go in a worker: a file, a block device, or a buffer that the main thread writes to a pipe.
import { closeSync, constants, openSync } from 'node:fs';
import type { Area } from '../../util/arena.ts';
import { closeQuietly, DIRECT_ALIGNMENT, openDirect, writeFully } from '../../util/direct-io.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';

/** One thread's end of a restore's target. */
export interface RangeTarget {
  /** Writes data; past the page cache when it lies in the thread's arena. */
  write(offset: number, data: Uint8Array): void;
  /** Makes a range read as zeros. */
  hole(offset: number, length: number): void;
  close(): void;
}

/** How a worker finds the target; structured-cloneable. `holesAreThere`: the target is new and reads as zeros already. */
export interface FileTargetLocator {
  readonly path: string;
  readonly holesAreThere: boolean;
}

/** A file or block device, written past the page cache where offset and length allow. */
export class FileTarget implements RangeTarget {
  readonly #locator: FileTargetLocator;
  readonly #direct: number;
  readonly #buffered: number;
  readonly #zeros: Uint8Array;

  /** `zeros` is an area of the arena that holds zeros only. */
  constructor(locator: FileTargetLocator, zeros: Area) {
    this.#locator = locator;
    this.#zeros = zeros.bytes;
    try {
      this.#direct = openDirect(locator.path, constants.O_WRONLY);
      this.#buffered = openSync(locator.path, constants.O_WRONLY);
    } catch (error) {
      throw targetError(locator.path, error);
    }
  }

  write(offset: number, data: Uint8Array): void {
    // Memory of any other kind is not where its offset says, and direct I/O refuses it.
    const isAligned =
      data.buffer === this.#zeros.buffer && offset % DIRECT_ALIGNMENT === 0 && data.byteOffset % DIRECT_ALIGNMENT === 0;
    const whole = isAligned ? Math.floor(data.length / DIRECT_ALIGNMENT) * DIRECT_ALIGNMENT : 0;
    try {
      if (whole > 0) writeFully(this.#direct, data.subarray(0, whole), offset);
      if (whole < data.length) writeFully(this.#buffered, data.subarray(whole), offset + whole);
    } catch (error) {
      throw targetError(this.#locator.path, error);
    }
  }

  hole(offset: number, length: number): void {
    if (this.#locator.holesAreThere) return;
    for (let done = 0; done < length; ) {
      const part = Math.min(length - done, this.#zeros.length);
      this.write(offset + done, this.#zeros.subarray(0, part));
      done += part;
    }
  }

  close(): void {
    closeQuietly(this.#direct);
    closeSync(this.#buffered);
  }
}

/** Collects one range in memory. */
export class BufferTarget implements RangeTarget {
  readonly buffer: ArrayBuffer;
  readonly #bytes: Uint8Array;
  readonly #start: number;

  constructor(start: number, length: number) {
    this.buffer = new ArrayBuffer(length);
    this.#bytes = new Uint8Array(this.buffer);
    this.#start = start;
  }

  write(offset: number, data: Uint8Array): void {
    this.#bytes.set(data, offset - this.#start);
  }

  hole(): void {
    // A new buffer is zeros.
  }

  close(): void {
    // Nothing is open.
  }
}

export function targetError(path: string, cause: unknown): HoldfastError {
  const code = systemCode(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new HoldfastError('target-failed', `no space left for ${path}; free space, or restore to another place`, {
      cause,
    });
  }
  return new HoldfastError('target-failed', `cannot write ${path}: ${(cause as Error).message}`, { cause });
}
