// Where the data of a sparse file lie, for backups of its content as a disk and as a file.
import { constants } from 'node:os';
import type { FileCalls } from './file-calls.ts';

/**
 * The next range with data from byte `at` on, as its start and end: empty and at `sizeBytes` when only a hole follows. All the rest where the
 * file system cannot tell.
 */
export function nextData(calls: FileCalls, fd: number, at: number, sizeBytes: number): [start: number, end: number] {
  const start = calls.seek(fd, at, false);
  if (start === -constants.errno.ENXIO) return [sizeBytes, sizeBytes];
  if (start < 0) return [at, sizeBytes];
  const end = calls.seek(fd, start, true);
  return [Math.min(start, sizeBytes), end < 0 ? sizeBytes : Math.min(end, sizeBytes)];
}
