// The disks of one snapshot as NBD exports on a private socket: for qemu-img, which writes them into images, and for a guest that runs from them. A
// session at a server that is lost is opened anew, and whoever reads waits meanwhile.
import type { Archive } from '../../schema/manifest.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { Extent } from '../nbd/client.ts';
import type { DiskSession, ReadPart, ServedDisk, ServedExports } from '../nbd/served-disk.ts';
import { NbdServer } from '../nbd/server.ts';
import { NodeCache } from '../serve/disk-node.ts';
import { MIN_CACHE_BYTES, PieceCache } from '../serve/piece-cache.ts';
import { ServePool } from '../serve/serve-pool.ts';
import { type ServeEnvironment, SnapshotDisk } from '../serve/snapshot-disk.ts';
import { LastingSession } from './lasting-session.ts';
import type { VmSnapshot } from './restore-source.ts';

/** Lists and pages: those of 25 GiB at 64 KiB a chunk. */
const NODE_CACHE_BYTES = 64 << 20;

/** What its client does not learn: for it there was an error, or no answer yet. */
export interface ServeListener {
  /** Why a read was refused. */
  refused(error: Error): void;
  /** Why all reads wait; told again with each try. */
  waits(error: Error): void;
}

/** Tells the same once in a row: a server that is away, and a guest that tries again, say it with each try. */
export function tellOnce(tell: (message: string) => void): (error: Error) => void {
  let told: string | undefined;
  return ({ message }) => {
    if (message !== told) tell(message);
    told = message;
  };
}

/** Of pools that serve nothing just now: a restore serves one disk after the other, and memory that threads share is not given back before its end. */
const idleSlabs = new WeakMap<WorkerPool, SharedArrayBuffer>();

/**
 * Serves the snapshot's images by their archives' names; a pool's threads serve one snapshot at a time. Memory: 128 MiB of pieces, and 64 MiB of lists and pages
 * for each connection at most. On `close` what waits is not answered, and nothing more is asked of the threads.
 */
export async function serveSnapshot(
  snapshot: VmSnapshot,
  socketPath: string,
  listener: ServeListener,
): Promise<{ close(): Promise<void> }> {
  const { pool } = snapshot;
  const slab = idleSlabs.get(pool) ?? new SharedArrayBuffer(MIN_CACHE_BYTES);
  idleSlabs.delete(pool);
  // Returns when all that was asked of the threads before is done: nothing writes to the slab any more.
  const threads = await ServePool.start(pool, slab);
  const pieces = new PieceCache(slab, (work) => threads.load(work));
  const session = new LastingSession(snapshot.reopen, (error) => listener.waits(error));
  const open = (archive: Archive, era: number): SnapshotDisk =>
    new SnapshotDisk(
      { label: `${snapshot.name}:${archive.name}`, archive, space: snapshot.space, isFixed: true },
      inEra(session, era, pieces, threads),
    );
  const images = snapshot.archives.filter(({ kind }) => kind === 'image');
  const exports: ServedExports = {
    list: async () => images.map(({ name }) => name),
    open: async (name) => {
      const archive = images.find((image) => image.name === name);
      return archive === undefined ? undefined : new LastingDisk(session, (era) => open(archive, era), listener);
    },
  };
  const server = await NbdServer.listen({ address: { socketPath }, exports, report: () => {} });
  return {
    close: async () => {
      const cut = server.cut();
      session.close();
      await cut;
      idleSlabs.set(pool, slab);
    },
  };
}

/**
 * What a disk reads by, as long as its era lasts. In a session only what was named by something read in it can be read: whoever came by an id in an earlier
 * one would be told that the object is missing, and so would whoever waits for the same piece.
 */
function inEra(session: LastingSession, era: number, cache: PieceCache, threads: ServePool): ServeEnvironment {
  return {
    pieces: {
      acquire: async (space, pieces) => {
        session.require(era);
        return await cache.acquire(space, pieces);
      },
      prefetch: (space, pieces) => session.isIn(era) && cache.prefetch(space, pieces),
      release: (held) => cache.release(held),
      views: (piece, start, end) => cache.views(piece, start, end),
    },
    nodes: new NodeCache(NODE_CACHE_BYTES),
    read: async (space, id) => {
      session.require(era);
      return await threads.read(space, id);
    },
  };
}

interface InEra {
  readonly era: number;
  readonly disk: DiskSession;
}

/** A disk that is opened anew with the session. */
class LastingDisk implements ServedDisk {
  readonly label: string;
  readonly sizeBytes: number;
  readonly isFixed: boolean;
  readonly #session: LastingSession;
  readonly #open: (era: number) => SnapshotDisk;
  readonly #listener: ServeListener;

  constructor(session: LastingSession, open: (era: number) => SnapshotDisk, listener: ServeListener) {
    const { label, sizeBytes, isFixed } = open(0);
    this.label = label;
    this.sizeBytes = sizeBytes;
    this.isFixed = isFixed;
    this.#session = session;
    this.#open = open;
    this.#listener = listener;
  }

  connect(): DiskSession {
    let last: InEra | undefined;
    const now = async (): Promise<InEra> => {
      const era = await this.#session.enter();
      if (last?.era !== era) last = { era, disk: this.#open(era).connect() };
      return last;
    };
    return {
      read: (offset, length) => this.#read(now, offset, length),
      extents: (offset, length, onlyFirst) => this.#extents(now, offset, length, onlyFirst),
      prefetch: (offset, length) => last?.disk.prefetch(offset, length),
    };
  }

  async *#read(now: () => Promise<InEra>, offset: number, length: number): AsyncGenerator<ReadPart> {
    const end = offset + length;
    for (let at = offset, lost = 0; at < end; lost++) {
      const { era, disk } = await now();
      try {
        for await (const part of disk.read(at, end - at)) {
          at = part.offset + part.length;
          lost = 0;
          yield part;
        }
      } catch (error) {
        await this.#lose(era, lost, error);
      }
    }
  }

  async #extents(now: () => Promise<InEra>, offset: number, length: number, onlyFirst: boolean): Promise<Extent[]> {
    for (let lost = 0; ; lost++) {
      const { era, disk } = await now();
      try {
        return await disk.extents(offset, length, onlyFirst);
      } catch (error) {
        await this.#lose(era, lost, error);
      }
    }
  }

  /** Returns when it makes sense to try again. */
  async #lose(era: number, lost: number, error: unknown): Promise<void> {
    if (!this.#session.lose(era, error)) {
      this.#listener.refused(error as Error);
      throw error;
    }
    if (lost > 0) await this.#session.pause();
  }
}
