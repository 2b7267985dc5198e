// Reads a raw file or block device with synchronous positional reads: a worker thread has nothing else to do, and a local
// read through promises costs more than the copy itself.
import { closeSync, openSync, readSync } from 'node:fs';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { openError, sizeOf } from './file-size.ts';
import type { DiskReader } from './source.ts';

/** One readSync of more than 2 GiB - 4 KiB is cut short by the kernel; larger targets take several. */
const MAX_READ_BYTES = 1 << 30;

export class FileReader implements DiskReader {
  readonly sizeBytes: number;
  readonly #path: string;
  #fd: number;

  /** Throws `not-found`, `bad-argument` or `source-failed`. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#fd = openSync(path, 'r');
    } catch (error) {
      throw openError(path, error);
    }
    try {
      this.sizeBytes = sizeOf(this.#fd, path);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  readInto(offset: number, target: Uint8Array): undefined {
    let done = 0;
    while (done < target.length) {
      const length = this.#read(offset + done, target, done);
      if (length === 0) {
        const message = `${this.#path} ended at byte ${offset + done} while it was read; back it up when nothing writes to it`;
        throw new HoldfastError('source-changed', message, { data: { path: this.#path, offset: offset + done } });
      }
      done += length;
    }
    return undefined;
  }

  async close(): Promise<void> {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #read(position: number, target: Uint8Array, at: number): number {
    try {
      return readSync(this.#fd, target, at, Math.min(target.length - at, MAX_READ_BYTES), position);
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      const message = `${this.#path}: cannot read at byte ${position}: ${code}; check the disk below it (dmesg)`;
      throw new HoldfastError('source-failed', message, {
        cause: error,
        data: { path: this.#path, offset: position, code },
      });
    }
  }
}
