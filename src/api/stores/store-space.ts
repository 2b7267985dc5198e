// Space of the file system that a datastore lies on.
import { statfsSync } from 'node:fs';

export interface StoreSpace {
  readonly total: number;
  readonly used: number;
  /** What this program may still write. */
  readonly avail: number;
}

export function spaceOn(path: string): StoreSpace {
  const { blocks, bfree, bavail, bsize } = statfsSync(path);
  return { total: blocks * bsize, used: (blocks - bfree) * bsize, avail: bavail * bsize };
}
