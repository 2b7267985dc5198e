// The low-space limit: backups stop before the file system is full, so that forgetting and garbage collection still have room to work.
import { type StatsFs, statfsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { HoldfastError } from '../../util/errors.ts';

const GIB = 1024 ** 3;
/** By default backups leave 1 GiB or 1 % free, whichever is more, */
const DEFAULT_BYTES = GIB;
const DEFAULT_SHARE = 0.01;
/** but of a file system of less than 20 GiB no more than this share. */
const LARGEST_DEFAULT_SHARE = 0.05;
/** A thread looks at the free space each time it has stored so much: together threads pass the limit by some tens of MiB at most. */
export const CHECK_EVERY_BYTES = 8 * 1024 * 1024;

export interface FileSystemSpace {
  readonly totalBytes: number;
  /** What this user may still write. */
  readonly freeBytes: number;
}

export function spaceOf(path: string): FileSystemSpace {
  return spaceIn(statfsSync(path));
}

/** The same beside the event loop: a disk may take long to answer, or for ever. */
export async function askSpace(path: string): Promise<FileSystemSpace> {
  return spaceIn(await statfs(path));
}

function spaceIn({ blocks, bavail, bsize }: StatsFs): FileSystemSpace {
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
}

/** The limit that counts; `configured` null for the default. */
export function lowSpaceLimit(configured: number | null, totalBytes: number): number {
  if (configured !== null) return configured;
  const wanted = Math.max(DEFAULT_BYTES, totalBytes * DEFAULT_SHARE);
  return Math.floor(Math.min(wanted, totalBytes * LARGEST_DEFAULT_SHARE));
}

/** @throws `disk-full` when fewer than `limitBytes` are free where `root` lies. */
export function requireSpace(root: string, limitBytes: number): void {
  const { freeBytes } = spaceOf(root);
  if (freeBytes >= limitBytes) return;
  throw new HoldfastError(
    'disk-full',
    `the file system of ${root} has ${freeBytes} bytes free, and backups leave at least ${limitBytes} (datastore set --low-space-limit); forget snapshots and run holdfast datastore gc, or free space elsewhere`,
    { data: { freeBytes, limitBytes } },
  );
}
