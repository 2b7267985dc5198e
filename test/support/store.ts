// A real datastore in a temporary directory with real worker threads, for tests that need its API rather than the CLI.
// Worker threads run the bundle in dist/ (Node 20 cannot load TypeScript in a thread): `npm run build` comes first.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DataKey } from '../../src/chunker/data-key.ts';
import { encodeList } from '../../src/chunker/list.ts';
import { Kind, type ObjectId } from '../../src/chunker/object.ts';
import { PageBuilder } from '../../src/chunker/page.ts';
import { createDatastore } from '../../src/datastore/config.ts';
import { HeldDatastore } from '../../src/datastore/held-datastore.ts';
import type { BackupSession } from '../../src/datastore/sessions/backup-session.ts';
import type { CommitResult } from '../../src/datastore/sessions/session-commit.ts';
import type { ClientPart } from '../../src/schema/manifest.ts';
import { parseGroup, parseNamespace } from '../../src/schema/names.ts';
import { WorkerPool } from '../../src/util/worker-pool.ts';

const WORKER = new URL('../../dist/worker.js', import.meta.url);
export const OWNER = 'root@pam';
export const NO_SIGNAL = new AbortController().signal;
const NO_REFS = new Uint8Array(0);

/** A new directory with an empty datastore in it. */
export async function createTemporaryStore(): Promise<{ root: string; remove(): Promise<void> }> {
  if (!existsSync(WORKER)) throw new Error('dist/worker.js is missing: npm run build');
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-store-'));
  const root = join(directory, 'store');
  await createDatastore(root, 65536);
  return { root, remove: () => rm(directory, { recursive: true, force: true }) };
}

/** One opening of a store: `close` ends it properly, `crash` lets go of everything as a killed process would. */
export class OpenStore {
  readonly store: HeldDatastore;
  readonly pool: WorkerPool;

  private constructor(store: HeldDatastore, pool: WorkerPool) {
    this.store = store;
    this.pool = pool;
  }

  /** `onEvent` hears of what threads announce. */
  static async open(
    root: string,
    threads = 2,
    onEvent: (event: string, argument: unknown) => void = () => {},
  ): Promise<OpenStore> {
    let store: HeldDatastore | undefined;
    const pool = WorkerPool.start(WORKER, threads, (event, argument) => {
      if (event === 'store.quarantined') store?.noteQuarantined(argument as number);
      onEvent(event, argument);
    });
    try {
      store = await HeldDatastore.open(root, pool);
      return new OpenStore(store, pool);
    } catch (error) {
      await pool.close();
      throw error;
    }
  }

  session(group = 'vm/101', owner = OWNER, key?: DataKey): Promise<BackupSession> {
    const ns = parseNamespace('');
    return this.store.openSession({ ns, group: parseGroup(group), owner, compressionLevel: 1, key });
  }

  async close(): Promise<void> {
    await this.store.close();
    await this.pool.close();
  }

  /** Threads end in the middle of whatever they do and nothing is flushed or sealed; the lock goes as it would with the process. */
  async crash(): Promise<void> {
    await this.pool.close();
    await this.store.close().catch(() => undefined);
  }
}

/** Puts one data object through a thread of the pool. */
export async function putData(
  open: OpenStore,
  session: BackupSession,
  content: string | Uint8Array,
  thread = 0,
): Promise<ObjectId> {
  const payload = typeof content === 'string' ? Buffer.from(content) : content;
  const id = await open.pool.call<Uint8Array>(thread, 'store.put', {
    session: session.id,
    kind: Kind.data,
    refs: NO_REFS,
    payload,
  });
  return Buffer.from(id) as ObjectId;
}

/** Puts a page with these pieces in this order. */
export async function putPage(
  session: BackupSession,
  pieces: readonly { id: ObjectId; length: number }[],
): Promise<ObjectId> {
  const builder = new PageBuilder();
  for (const piece of pieces) builder.addData(piece.length, piece.id);
  const { refs, payload } = builder.finish();
  return await session.put(Kind.page, refs, payload);
}

/** Puts the list that makes a page an image. */
export async function putImage(session: BackupSession, page: ObjectId, length: number): Promise<ObjectId> {
  const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries: [{ length, id: page }] });
  return await session.put(Kind.list, refs, payload);
}

/** Stores an image of the given chunks, without committing. */
export async function putWholeImage(
  open: OpenStore,
  session: BackupSession,
  chunks: readonly string[],
): Promise<{ root: ObjectId; sizeBytes: number }> {
  const pieces: { id: ObjectId; length: number }[] = [];
  for (const chunk of chunks)
    pieces.push({ id: await putData(open, session, chunk), length: Buffer.byteLength(chunk) });
  const sizeBytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  return { root: await putImage(session, await putPage(session, pieces), sizeBytes), sizeBytes };
}

/** The client's part of a manifest for one image. */
export function clientPart(root: ObjectId, sizeBytes: number, group = 'vm/101', key?: DataKey): ClientPart {
  return {
    backup: group,
    clientTime: '2026-11-21T00:00:00.000Z',
    archives: [{ name: 'disk0.img', kind: 'image', sizeBytes, root: root.toString('hex') }],
    base: null,
    key: key?.fingerprint ?? null,
    statistics: {
      bytesLogical: sizeBytes,
      bytesRead: sizeBytes,
      bytesSampled: 0,
      bytesNew: 0,
      objectsNew: 0,
      objectsReused: 0,
      durationMs: 0,
    },
  };
}

/** Stores and commits an image of the given chunks. */
export async function commitImage(
  open: OpenStore,
  chunks: readonly string[],
  group = 'vm/101',
  owner = OWNER,
  key?: DataKey,
): Promise<CommitResult & { root: ObjectId }> {
  const session = await open.session(group, owner, key);
  const { root, sizeBytes } = await putWholeImage(open, session, chunks);
  return { ...(await session.commit(clientPart(root, sizeBytes, group, key), undefined, NO_SIGNAL)), root };
}
