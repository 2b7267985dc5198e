// Files opened past the page cache where the file system allows it: a buffered write of fresh data costs as much CPU as
// compressing it. Needs memory of a WebAssembly.Memory, and offsets and lengths in multiples of 4 KiB.
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { systemCode } from './errors.ts';

export const DIRECT_ALIGNMENT = 4096;

/** Opens with O_DIRECT, or without where the file system answers EINVAL (tmpfs, some network file systems). */
export function openDirect(path: string, flags: number, mode = 0o640): number {
  try {
    return openSync(path, flags | constants.O_DIRECT, mode);
  } catch (error) {
    if (systemCode(error) !== 'EINVAL') throw error;
    // The refused open may have created the file already.
    return openSync(path, flags & ~constants.O_EXCL, mode);
  }
}

/**
 * Writes all of `bytes` at `position`, going on after short writes. A full disk may end a direct write short and unaligned;
 * the EINVAL that the rest then meets is reported as the ENOSPC that it is.
 */
export function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.length) {
    try {
      done += writeSync(fd, bytes, done, bytes.length - done, position + done);
    } catch (error) {
      if (done === 0 || systemCode(error) !== 'EINVAL') throw error;
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', cause: error });
    }
  }
}

/** Reads into all of `target` unless the file ends before; returns the bytes read. */
export function readFully(fd: number, target: Uint8Array, position: number): number {
  let done = 0;
  while (done < target.length) {
    const got = readSync(fd, target, done, target.length - done, position + done);
    if (got === 0) break;
    done += got;
  }
  return done;
}

/** Closes a descriptor whose work is done; an error of close() itself changes nothing any more. */
export function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // The descriptor is gone either way.
  }
}
