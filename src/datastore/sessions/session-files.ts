// sessions/ID.json: a session is on disk before its first pack, so that unfinished, aborted and committed ones can be told apart (rule S1).
import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { SessionRecord } from '../../schema/state-files.ts';
import { readIfPresent, syncDirectory, writeFileAtomic } from '../../util/atomic-file.ts';
import { systemCode } from '../../util/errors.ts';
import { parseStateFile } from '../../util/json-file.ts';
import type { Layout } from '../layout.ts';

/** What an unfinished session left lasts this long on the store clock after it was opened. */
export const UNFINISHED_LIFETIME_MS = 7 * 24 * 3600 * 1000;

export async function writeSessionFile(layout: Layout, record: SessionRecord): Promise<void> {
  await writeFileAtomic(layout.session(record.session), `${JSON.stringify(record)}\n`);
}

/** Removes session files durably; those already gone are fine. */
export async function removeSessionFiles(layout: Layout, sessionIds: readonly string[]): Promise<void> {
  for (const sessionId of sessionIds) {
    try {
      await unlink(layout.session(sessionId));
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }
  if (sessionIds.length > 0) await syncDirectory(layout.sessions);
}

/**
 * All sessions that have a file, for the holder at open. A file that cannot be read is an error: guessing could lose what it protects.
 * Files that a crash kept from getting their name are removed: no session of that name ever wrote a pack.
 */
export async function readSessionFiles(layout: Layout): Promise<SessionRecord[]> {
  const records: SessionRecord[] = [];
  for (const name of (await readdir(layout.sessions)).sort()) {
    if (/^[0-9a-f]{32}\.json\.tmp$/.test(name)) await unlink(join(layout.sessions, name));
    if (!/^[0-9a-f]{32}\.json$/.test(name)) continue;
    const text = await readIfPresent(layout.session(name.slice(0, 32)));
    if (text !== undefined) records.push(parseStateFile(layout.session(name.slice(0, 32)), text, SessionRecord));
  }
  return records;
}
