// Counts what a killed process had stored, straight from the packs, so that a test knows whether a retry has something to continue.
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPackHeader, scanRecords } from '../../../src/datastore/packs/pack-scan.ts';

export interface StoredRecords {
  /** Good data records in open packs. */
  readonly open: number;
  /** Good data records in packs, open or sealed, of sessions that still have their file. */
  readonly ofUnfinished: number;
  /** The same of sessions that have neither a file nor a manifest: nobody would adopt them. */
  readonly ofNobody: number;
}

/** Data records only: whether metadata counts depends on what it names. */
export function storedRecords(root: string): StoredRecords {
  const sessions = new Set(readdirSync(join(root, 'sessions')).map((name) => name.slice(0, 32)));
  const committed = new Set(manifestsOf(root).map((manifest) => manifest.server.session));
  let open = 0;
  let ofUnfinished = 0;
  let ofNobody = 0;
  for (const name of readdirSync(join(root, 'packs'))) {
    const fd = openSync(join(root, 'packs', name), 'r');
    try {
      const header = readPackHeader(fd);
      if (header === undefined || header.kind !== 1) continue;
      const records = [...scanRecords(fd, header)].length;
      if (name.endsWith('.open')) open += records;
      const session = header.sessionId.toString('hex');
      if (sessions.has(session)) ofUnfinished += records;
      else if (!committed.has(session)) ofNobody += records;
    } finally {
      closeSync(fd);
    }
  }
  return { open, ofUnfinished, ofNobody };
}

function manifestsOf(root: string): { server: { session: string } }[] {
  const names = readdirSync(join(root, 'snapshots'), { recursive: true, encoding: 'utf8' });
  const paths = names.filter((name) => name.endsWith('/manifest.json'));
  return paths.map((name) => JSON.parse(readFileSync(join(root, 'snapshots', name), 'utf8')));
}
