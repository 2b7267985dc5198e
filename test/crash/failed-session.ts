// A program in which session A fails at its first pack's sync and lets go of its other pack, unsealed; session B then puts what that one
// held and commits. Prints a line for the end of each. Arguments: the store, a small file.
import { readFileSync } from 'node:fs';
import { Kind } from '../../src/chunker/object.ts';
import { HeldDatastore } from '../../src/datastore/held-datastore.ts';
import type { BackupSession } from '../../src/datastore/sessions/backup-session.ts';
import { type Namespace, parseGroup } from '../../src/schema/names.ts';
import { WorkerPool } from '../../src/util/worker-pool.ts';
import { WORKER } from '../support/crash/cli.ts';

const [root, path] = process.argv.slice(2) as [string, string];
const content = readFileSync(path);
const NO_REFS = new Uint8Array(0);
const pool = WorkerPool.start(WORKER, 1);
const store = await HeldDatastore.open(root, pool);

const open = (group: string): Promise<BackupSession> =>
  store.openSession({ ns: '' as Namespace, group: parseGroup(group), owner: 'root@pam', compressionLevel: 1 });

async function say(what: string, step: () => Promise<unknown>): Promise<void> {
  try {
    await step();
    console.log(`${what} ok`);
  } catch (error) {
    console.log(`${what} ${(error as { code?: string }).code ?? String(error)}`);
  }
}

/** A snapshot of one small file. */
async function commit(session: BackupSession, group: string): Promise<void> {
  const root = (await session.put(Kind.blob, NO_REFS, content)).toString('hex');
  const archives = [{ name: 'a.conf', kind: 'blob' as const, sizeBytes: content.length, root }];
  const { objectsNew, objectsReused, bytesNew } = await session.counters();
  const sums = { bytesLogical: content.length, bytesRead: content.length, bytesSampled: 0, durationMs: 1 };
  const client = {
    backup: group,
    clientTime: new Date().toISOString(),
    archives,
    base: null,
    key: null,
    statistics: { ...sums, bytesNew, objectsNew, objectsReused },
  };
  await session.commit(client, undefined, new AbortController().signal);
}

const a = await open('vm/20');
await a.put(Kind.data, NO_REFS, Buffer.alloc(5000, 'data of A'));
await a.put(Kind.blob, NO_REFS, content);
await say('A', () => a.suspend());
const b = await open('vm/21');
await say('B', () => commit(b, 'vm/21'));
await b.suspend();
await store.close();
await pool.close();
