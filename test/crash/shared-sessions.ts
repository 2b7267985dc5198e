// A program that dies: session A stores images and never ends, sessions of other groups find its records, volatile as they are, and
// commit. Marks and a line for each acknowledged snapshot; at the end SIGKILL, so that A is unfinished. Argument: JSON.
import { appendFileSync } from 'node:fs';
import { backupImage } from '../../src/agent/backup/image-backup.ts';
import { runBackup } from '../../src/agent/backup/run-backup.ts';
import { openDiskSource } from '../../src/agent/sources/open-source.ts';
import { HeldDatastore } from '../../src/datastore/held-datastore.ts';
import type { BackupSession } from '../../src/datastore/sessions/backup-session.ts';
import { formatTime, type Namespace, parseGroup } from '../../src/schema/names.ts';
import { WorkerPool } from '../../src/util/worker-pool.ts';
import { WORKER } from '../support/crash/cli.ts';
import { type MarkTarget, writeMark } from '../support/power-cut/mark.ts';

const DISK = 'disk0.img';
const { root, images, acknowledged, mark, firstMark } = JSON.parse(process.argv[2]!) as {
  root: string;
  images: [string, string, string];
  acknowledged: string;
  mark: MarkTarget;
  firstMark: number;
};

const pool = WorkerPool.start(WORKER, 2);
const store = await HeldDatastore.open(root, pool);
const { signal } = new AbortController();
const averageBytes = store.config.chunk.averageBytes;
let marks = firstMark;

const open = (group: string): Promise<BackupSession> =>
  store.openSession({ ns: '' as Namespace, group: parseGroup(group), owner: 'root@pam', compressionLevel: 1 });

/** Stores an image in a session that goes on. */
async function put(session: BackupSession, path: string): Promise<void> {
  const source = await openDiskSource(path);
  await backupImage(pool, session, {
    name: DISK,
    source,
    averageBytes,
    cutSeed: undefined,
    incremental: undefined,
    onProgress: () => {},
    signal,
  });
  await source.close();
}

/** A whole backup of another group; acknowledged when this returns. */
async function backup(group: string, path: string): Promise<void> {
  const request = {
    group,
    archives: [{ name: DISK, kind: 'image' as const, path }],
    changeMap: undefined,
    time: undefined,
    averageBytes,
    key: undefined,
    stdin: process.stdin,
    signal,
    onProgress: () => {},
    warn: () => {},
  };
  const { committed, statistics } = await runBackup(request, pool, () => open(group));
  if (statistics.objectsNew > 0 && group !== 'vm/13')
    throw new Error(`${group} stored ${statistics.objectsNew} objects, all should be shared`);
  appendFileSync(
    acknowledged,
    `${JSON.stringify({ snapshot: `${group}/${formatTime(committed.name.time)}`, image: path })}\n`,
  );
  writeMark(mark.device, mark.offset, marks++);
}

const unfinished = await open('vm/10');
await put(unfinished, images[0]);
await backup('vm/11', images[0]);
// Behind the checkpoint that the commit above made in the packs of the unfinished session.
await put(unfinished, images[1]);
await backup('vm/12', images[1]);
await backup('vm/13', images[2]);
await backup('vm/14', images[0]);
process.kill(process.pid, 'SIGKILL');
