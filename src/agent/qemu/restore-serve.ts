// The disks of one snapshot as NBD exports on a private socket: for qemu-img, which writes them into images, and for a guest that runs from them. A
// session at a server that is lost is opened anew, and whoever reads waits meanwhile.
import type { Archive } from '../../schema/manifest.ts';
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
/**
 * Serves the snapshot's images by their archives' names. Memory: 128 MiB of pieces, 64 MiB of lists and pages for each disk at most. `failed` hears why a
 * read was refused, of which the client learns no more than that there was an error, and why one waits. On `close` what waits is not answered.
 */
export async function serveSnapshot(
  snapshot: VmSnapshot,
  socketPath: string,
  failed: (error: Error) => void,
): Promise<{ close(): Promise<void> }> {
  const slab = new SharedArrayBuffer(MIN_CACHE_BYTES);
  const threads = await ServePool.start(snapshot.pool, slab);
  const pieces = new PieceCache(slab, (work) => threads.load(work));
  const session = new LastingSession(snapshot.reopen, failed);
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
      return archive === undefined ? undefined : new LastingDisk(session, (era) => open(archive, era), failed);
    },
  };
  const server = await NbdServer.listen({ address: { socketPath }, exports, report: () => {} });
  return {
    close: async () => {
      const cut = server.cut();
      session.close();
      await cut;
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
  readonly #failed: (error: Error) => void;

  constructor(session: LastingSession, open: (era: number) => SnapshotDisk, failed: (error: Error) => void) {
    const { label, sizeBytes, isFixed } = open(0);
    this.label = label;
    this.sizeBytes = sizeBytes;
    this.isFixed = isFixed;
    this.#session = session;
    this.#open = open;
    this.#failed = failed;
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
      this.#failed(error as Error);
      throw error;
    }
    if (lost > 0) await this.#session.pause();
  }
}
