// What a killed process left of an image that it was making. Whoever is still at work writes to it; what nobody wrote to for a day is removed,
// also where several hosts share the storage and no process can be asked.
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../util/errors.ts';
import { PARTIAL_PREFIX } from './image-form.ts';

const ABANDONED_MS = 24 * 3600 * 1000;

/** Looks in one guest's directory. */
export async function removeLeftovers(directory: string): Promise<void> {
  for (const entry of await readdir(directory)) {
    if (!entry.startsWith(PARTIAL_PREFIX)) continue;
    const path = join(directory, entry);
    if (Date.now() - (await lastWrite(path)) > ABANDONED_MS) await rm(path, { recursive: true, force: true });
  }
}

/** Of a file, or of the files of a subvolume. What is gone counts as new: somebody else is at it. */
async function lastWrite(path: string): Promise<number> {
  try {
    const own = await stat(path);
    if (!own.isDirectory()) return own.mtimeMs;
    const times = await Promise.all((await readdir(path)).map((entry) => lastWrite(join(path, entry))));
    return Math.max(own.mtimeMs, ...times);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return Date.now();
    throw error;
  }
}
