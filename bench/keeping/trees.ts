// Stores with many small objects below few roots, made through the datastore's own sessions: what collections and accounting walk.
import { randomFillSync } from 'node:crypto';
import { encodeList } from '../../src/chunker/list.ts';
import { Kind, type ObjectId } from '../../src/chunker/object.ts';
import { PageBuilder } from '../../src/chunker/page.ts';
import { HeldDatastore } from '../../src/datastore/held-datastore.ts';
import type { BackupSession } from '../../src/datastore/sessions/backup-session.ts';
import { type Namespace, parseGroup } from '../../src/schema/names.ts';
import { WorkerPool } from '../../src/util/worker-pool.ts';

const WORKER = new URL('../worker.js', import.meta.url);
const THREADS = 2;
const PAYLOAD_BYTES = 64;
const CHUNKS_PER_PAGE = 256;
const PIECE_BYTES = 65_536;
const NO_REFS = new Uint8Array(0);

/** One image of `chunks` chunks in a group of its own for each root. */
export async function growTrees(repository: string, roots: number, chunks: number): Promise<void> {
  await withStore(repository, async (store, pool) => {
    for (let root = 0; root < roots; root++) {
      const session = await openSession(store, root);
      await commit(session, root, await putTree(session, pool, chunks), chunks);
    }
  });
}

/** More snapshots of the same roots, until there are so many in all. */
export async function repeatSnapshots(repository: string, roots: number, snapshots: number): Promise<void> {
  await withStore(repository, async (store) => {
    for (let made = roots; made < snapshots; made++) {
      const root = made % roots;
      const session = await openSession(store, root);
      const image = session.bases[0]?.archives[0];
      if (image === undefined) throw new Error('a group without a snapshot');
      await commit(session, root, image.root, image.sizeBytes / PIECE_BYTES);
    }
  });
}

async function withStore(
  repository: string,
  use: (store: HeldDatastore, pool: WorkerPool) => Promise<void>,
): Promise<void> {
  const pool = WorkerPool.start(WORKER, THREADS);
  const store = await HeldDatastore.open(repository, pool);
  try {
    await use(store, pool);
  } finally {
    await store.close();
    await pool.close();
  }
}

function openSession(store: HeldDatastore, root: number): Promise<BackupSession> {
  const group = parseGroup(`vm/${100 + root}`);
  return store.openSession({ ns: '' as Namespace, group, owner: 'root@pam', compressionLevel: 1 });
}

/** Returns the root's id in hexadecimal digits. */
async function putTree(session: BackupSession, pool: WorkerPool, chunks: number): Promise<string> {
  const entries: { id: ObjectId; length: number }[] = [];
  for (let first = 0; first < chunks; first += CHUNKS_PER_PAGE) {
    const count = Math.min(CHUNKS_PER_PAGE, chunks - first);
    const ids = await Promise.all(
      Array.from({ length: count }, (_, place) => {
        const payload = randomFillSync(new Uint8Array(PAYLOAD_BYTES));
        const put = { session: session.id, kind: Kind.data, refs: NO_REFS, payload };
        return pool.call<Uint8Array>(place % THREADS, 'store.put', put);
      }),
    );
    const page = new PageBuilder();
    for (const id of ids) page.addData(PIECE_BYTES, id);
    const { refs, payload } = page.finish();
    entries.push({ id: await session.put(Kind.page, refs, payload), length: count * PIECE_BYTES });
  }
  const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries });
  return (await session.put(Kind.list, refs, payload)).toString('hex');
}

async function commit(session: BackupSession, root: number, image: string, chunks: number): Promise<void> {
  const sizeBytes = chunks * PIECE_BYTES;
  const { objectsNew, objectsReused, bytesNew } = await session.counters();
  await session.commit(
    {
      backup: `vm/${100 + root}`,
      clientTime: new Date().toISOString(),
      archives: [{ name: 'disk0.img', kind: 'image', sizeBytes, root: image }],
      base: null,
      key: null,
      statistics: {
        bytesLogical: sizeBytes,
        bytesRead: sizeBytes,
        bytesSampled: 0,
        bytesNew,
        objectsNew,
        objectsReused,
        durationMs: 0,
      },
    },
    undefined,
    new AbortController().signal,
  );
}
