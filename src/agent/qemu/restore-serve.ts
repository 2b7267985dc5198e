// The disks of one snapshot as NBD exports on a private socket: for qemu-img, which writes them into images, and for a guest that runs from them. At a server
// the session that objects are read in may be a new one after the server's restart, which knows nothing of what was read before: then the way to a piece
// is gone once more from the root.
import type { Archive } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { DiskSession, ReadPart, ServedDisk, ServedExports } from '../nbd/served-disk.ts';
import { NbdServer } from '../nbd/server.ts';
import { NodeCache } from '../serve/disk-node.ts';
import { MIN_CACHE_BYTES, PieceCache } from '../serve/piece-cache.ts';
import { ServePool } from '../serve/serve-pool.ts';
import { SnapshotDisk } from '../serve/snapshot-disk.ts';
import type { VmSnapshot } from './restore-source.ts';

/** Lists and pages: those of 25 GiB at 64 KiB a chunk. */
const NODE_CACHE_BYTES = 64 << 20;
/** A server that forgets the session again and again is no help. */
const FRESH_STARTS = 5;

/**
 * Serves the snapshot's images by their archives' names. Memory: 128 MiB of pieces, 64 MiB of lists and pages for each disk at most. `failed` hears why a
 * read was refused, of which the client learns no more than that there was an error.
 */
export async function serveSnapshot(
  snapshot: VmSnapshot,
  socketPath: string,
  failed: (error: Error) => void,
): Promise<NbdServer> {
  const slab = new SharedArrayBuffer(MIN_CACHE_BYTES);
  const threads = await ServePool.start(snapshot.pool, slab);
  const pieces = new PieceCache(slab, (work) => threads.load(work));
  const open = (archive: Archive): SnapshotDisk =>
    new SnapshotDisk(
      { label: `${snapshot.name}:${archive.name}`, archive, space: snapshot.space, isFixed: true },
      { pieces, nodes: new NodeCache(NODE_CACHE_BYTES), read: threads.read.bind(threads) },
    );
  const images = snapshot.archives.filter(({ kind }) => kind === 'image');
  const exports: ServedExports = {
    list: async () => images.map(({ name }) => name),
    open: async (name) => {
      const archive = images.find((image) => image.name === name);
      return archive === undefined ? undefined : new RereadDisk(() => open(archive), failed);
    },
  };
  return await NbdServer.listen({ address: { socketPath }, exports, report: () => {} });
}

/** A disk that forgets what it knows of the way to its pieces when the session is a new one. */
class RereadDisk implements ServedDisk {
  readonly #open: () => SnapshotDisk;
  readonly #failed: (error: Error) => void;
  #disk: SnapshotDisk;
  #starts = 0;

  constructor(open: () => SnapshotDisk, failed: (error: Error) => void) {
    this.#open = open;
    this.#failed = failed;
    this.#disk = open();
  }

  get label(): string {
    return this.#disk.label;
  }

  get sizeBytes(): number {
    return this.#disk.sizeBytes;
  }

  get isFixed(): boolean {
    return this.#disk.isFixed;
  }

  connect(): DiskSession {
    let known = this.#disk;
    let session = known.connect();
    const current = (): DiskSession => {
      if (known !== this.#disk) {
        known = this.#disk;
        session = known.connect();
      }
      return session;
    };
    return {
      read: (offset, length) => this.#read(current, offset, length),
      extents: async (offset, length, onlyFirst) => {
        for (;;) {
          const used = this.#disk;
          try {
            return await current().extents(offset, length, onlyFirst);
          } catch (error) {
            this.#startAfresh(used, error);
          }
        }
      },
      prefetch: (offset, length) => current().prefetch(offset, length),
    };
  }

  async *#read(current: () => DiskSession, offset: number, length: number): AsyncGenerator<ReadPart> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const used = this.#disk;
      try {
        for await (const part of current().read(at, end - at)) {
          at = part.offset + part.length;
          this.#starts = 0;
          yield part;
        }
      } catch (error) {
        this.#startAfresh(used, error);
      }
    }
  }

  #startAfresh(used: SnapshotDisk, error: unknown): void {
    const isNewSession = error instanceof HoldfastError && error.code === 'session-gone';
    // Another request has done it already.
    if (isNewSession && used !== this.#disk) return;
    if (!isNewSession || this.#starts >= FRESH_STARTS) {
      this.#failed(error as Error);
      throw error;
    }
    this.#starts++;
    this.#disk = this.#open();
  }
}
