// Dropped packs: moved to `condemned/`, where a reader that still needs one finds it, and deleted when no reader is left (rule G5).
import { unlinkSync } from 'node:fs';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { syncDirectory } from '../../util/atomic-file.ts';
import type { Layout } from '../layout.ts';
import { tryExcludeReaders } from '../lock.ts';

/** Takes a pack file out of `packs/`. */
export async function dropPack(layout: Layout, path: string, packId: Buffer): Promise<void> {
  await rename(path, layout.condemnedPack(packId));
  await syncDirectory(layout.condemned);
  await syncDirectory(layout.packs);
}

/** Deletes what was dropped, unless a reader is there. Only the holder calls this. */
export async function emptyCondemned(layout: Layout): Promise<void> {
  for (const name of await readdir(layout.condemned)) {
    // File by file and without a pause: a reader waits for one, also one of this very thread, which waits by blocking it.
    const exclusion = tryExcludeReaders(layout);
    if (exclusion === undefined) return;
    try {
      unlinkSync(join(layout.condemned, name));
    } finally {
      exclusion.release();
    }
    await setImmediate();
  }
}
