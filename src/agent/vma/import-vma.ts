// The import of a VMA archive, as a list of steps: read its header, open a session, store disks and files, commit, read one chunk per disk back.
import type { Readable } from 'node:stream';
import type { DataKey } from '../../chunker/data-key.ts';
import type { RecoveryRecord } from '../../schema/manifest.ts';
import { formatTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { readBackOne } from '../backup/read-back.ts';
import { type BackupResult, clientPart } from '../backup/run-backup.ts';
import type { Session } from '../backup/session.ts';
import { trustedBases } from '../backup/trusted-bases.ts';
import type { Remembered } from '../keys/last-snapshots.ts';
import { unpack } from '../unpack.ts';
import { ExactReader } from './exact-reader.ts';
import { storeVma, type VmaWork } from './store-vma.ts';
import { readVmaHeader } from './vma-header.ts';
import { planVma } from './vma-plan.ts';

/** The header is written some time after the name is made: until hooks have run and the guest has stopped. Zones differ by more. */
const ZONE_SECONDS = 25 * 60;

export interface ImportRequest extends Omit<VmaWork, 'cutSeed' | 'onProgress'> {
  /** Path of the archive, or the stream that it comes by. */
  readonly source: string | Readable;
  /** `TYPE/ID`. */
  readonly group: string;
  /** Label of the snapshot, Unix seconds. */
  readonly time: number;
  /** Whether it was made of a local time, whose zone may be that of another host. */
  readonly isLocalTime: boolean;
  /** Encrypts the snapshot; the session that is opened has the same. */
  readonly key: DataKey | undefined;
  readonly recovery?: RecoveryRecord | undefined;
  /** The last snapshot of the group that this client made with the key. */
  readonly last?: Remembered | undefined;
  readonly onProgress: (archive: string, bytesDone: number, bytesTotal: number | undefined) => void;
  readonly warn: (message: string) => void;
}

/**
 * Makes a snapshot of an archive, which is read once. On any failure no snapshot is visible, and what was stored stays for a retry.
 * `openSession` is called once the header is read and good.
 * @throws `source-failed` for an archive that is damaged, `exists` when the group has a snapshot that is not older, `too-large`,
 * and what a backup throws.
 */
export async function importVma(
  request: ImportRequest,
  pool: WorkerPool,
  openSession: () => Promise<Session>,
): Promise<BackupResult> {
  const started = performance.now();
  const { source, signal, warn } = request;
  const label = typeof source === 'string' ? source : 'on standard input';
  const chunks = unpack(source, signal, {
    damaged: (why, cause) => reader.damaged(why, reader.offset, {}, cause),
    command: 'holdfast import --group vm/101 --time TIME -',
    reuse: true,
  });
  const reader = new ExactReader(chunks, label);
  try {
    const header = await readVmaHeader(reader);
    warnOfZone(request, header.time, label);
    const plan = planVma(header, reader, (message) => warn(`${label}: ${message}`));
    const session = await openSession();
    try {
      refuseOlder(session, request, label);
      const bases = trustedBases(session.bases, request);
      const cutSeed = request.key?.cutSeed;
      const onProgress = (done: number, total: number): void => request.onProgress(label, done, total);
      const archives = await storeVma(pool, session, reader, plan, { ...request, cutSeed, onProgress });
      const stored = { archives, bytesRead: reader.offset, bytesSampled: 0 };
      const client = await clientPart({ ...request, bases, changeMap: undefined }, session, stored, started);
      const committed = await session.commit(client, request.time, signal);
      await readBackOne(pool, committed.manifest);
      return { committed, statistics: client.statistics, objectsAdopted: session.adoptedObjects };
    } catch (error) {
      // What went wrong first is what to say, as in a backup.
      await session.suspend().catch(() => undefined);
      signal.throwIfAborted();
      throw error;
    }
  } finally {
    await reader.close();
  }
}

function warnOfZone({ time, isLocalTime, warn }: ImportRequest, madeAt: number, label: string): void {
  if (!isLocalTime || Math.abs(madeAt - time) < ZONE_SECONDS || madeAt < 0 || madeAt > 2 ** 40) return;
  warn(
    `${label}: its name means ${formatTime(time)} in this machine's time zone, and its header says ${formatTime(madeAt)}; if the host is in another zone, set TZ to it`,
  );
}

/** Labels of a group rise: an archive from before its last snapshot would get a time that is not its own. */
function refuseOlder({ bases }: Session, { time, group }: ImportRequest, label: string): void {
  const newest = Math.max(...bases.map(({ manifest }) => manifest.server.time));
  if (newest < time) return;
  throw new HoldfastError(
    'exists',
    `${label} is of ${formatTime(time)}, and ${group} has a snapshot of ${formatTime(newest)}; snapshots come in the order of their times: import it into another namespace (--ns) or group (--group), or give it a later --time`,
    { data: { group, time: formatTime(time) } },
  );
}
