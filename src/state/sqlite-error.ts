// What SQLite says, as errors of ours that tell what to do.
import { type ErrorCode, HoldfastError, systemCode } from '../util/errors.ts';

const KNOWN: readonly [start: string, code: ErrorCode, advice: string][] = [
  ['SQLITE_BUSY', 'timed-out', 'another process has been writing to it for seconds; try again'],
  ['SQLITE_FULL', 'disk-full', 'no room is left for it; free some'],
  ['SQLITE_READONLY', 'datastore-read-only', 'it cannot be written; check its owner, its mode and the file system'],
  [
    'SQLITE_CANTOPEN',
    'datastore-read-only',
    'it cannot be opened; check owner and mode of the file and of its directory',
  ],
  ['SQLITE_IOERR', 'write-failed', 'reading or writing it failed; look at the disk'],
  ['SQLITE_NOTADB', 'datastore-damaged', 'it is damaged, or not a state database; put a copy back'],
  ['SQLITE_CORRUPT', 'datastore-damaged', 'it is damaged; put a copy back'],
];
const SYSTEM: Readonly<Record<string, (typeof KNOWN)[number]>> = {
  EACCES: KNOWN[3],
  EPERM: KNOWN[3],
  EROFS: KNOWN[2],
  ENOTDIR: KNOWN[3],
  EISDIR: KNOWN[3],
  ENOSPC: KNOWN[1],
  EDQUOT: KNOWN[1],
  EIO: KNOWN[4],
};

/** The error itself when it is none of SQLite's, or one that only a mistake of ours can cause. */
export function sqliteError(error: unknown, path: string): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  const text = typeof code === 'string' ? code : '';
  const known = KNOWN.find(([start]) => text.startsWith(start)) ?? SYSTEM[systemCode(error) ?? ''];
  if (known === undefined) return error;
  const [, family, advice] = known;
  return new HoldfastError(family, `the state database ${path}: ${advice} (${text})`, { cause: error });
}
