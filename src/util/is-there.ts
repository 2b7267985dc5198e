// Whether a path names anything, a symbolic link to nothing too.
import { lstat } from 'node:fs/promises';
import { systemCode } from './errors.ts';

/** Throws Node's errors for what cannot be looked at. */
export async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}
