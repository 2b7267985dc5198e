// All downloads of the server: how many may run, which thread works for which, and what is held for each.
import type { DownloadFacts, DownloadWork, Wanted } from '../../agent/download/download-work.ts';
import type { SnapshotName } from '../../datastore/snapshots/group-store.ts';
import type { AuthId } from '../../schema/auth-id.ts';
import type { Archive } from '../../schema/manifest.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { OpenDatastore } from '../services.ts';
import { DownloadStream } from './download-stream.ts';
import { Places } from './places.ts';

export const DOWNLOAD_LIMITS = {
  /** At once; each takes up to some 25 MiB in its thread and 3 MiB here. */
  downloads: { ofStore: 8, ofUser: 4 },
  /** Lists of directories, which end soon and take some KiB. */
  lists: { ofStore: 32, ofUser: 8 },
  /** For 1 MiB: who is slower than 9 KB a second is cut off. */
  idleMs: 120_000,
} as const;

export interface DownloadRequest {
  readonly open: OpenDatastore;
  readonly name: SnapshotName;
  readonly caller: AuthId;
  /** One that the snapshot has. */
  readonly archive: string;
  readonly wanted: Wanted;
}

export interface StartedDownload {
  readonly facts: DownloadFacts;
  readonly archive: Archive;
  readonly stream: DownloadStream;
  /** Gives its place back: to be called when the answer is out, for until then it holds memory. */
  readonly release: () => void;
}

export class Downloads {
  readonly #idleMs: number;
  readonly #places = new Places('downloads', DOWNLOAD_LIMITS.downloads);
  readonly #lists = new Places('lists of directories', DOWNLOAD_LIMITS.lists);
  /** How many each thread of a pool works for. */
  readonly #busy = new WeakMap<WorkerPool, number[]>();
  #count = 0;

  constructor(idleMs: number = DOWNLOAD_LIMITS.idleMs) {
    this.#idleMs = idleMs;
  }

  /** Downloads of a datastore that are running. */
  runningIn(store: string): number {
    return this.#places.takenIn(store);
  }

  /**
   * Begins a download; its first bytes were made when this returns. While it runs, garbage collection keeps what the snapshot reaches, also when
   * that is forgotten.
   * @throws `too-many`, `not-found`, and what reading the archive throws.
   */
  async start(request: DownloadRequest): Promise<StartedDownload> {
    const { open, name, caller, wanted } = request;
    const places = wanted.what === 'rows' ? this.#lists : this.#places;
    const release = places.take(open.name, caller);
    const closing: (() => void)[] = [];
    const close = (): void => {
      for (const each of closing.splice(0).reverse()) each();
    };
    try {
      const reader = await open.store.openReader({ ns: name.ns, group: name.group, times: [name.time] });
      // A datastore that is closed meanwhile has let go of it.
      closing.push(() => void reader.end().catch(() => undefined));
      const archive = reader.manifests[0]?.client.archives.find((each) => each.name === request.archive);
      if (archive === undefined) throw new Error(`a download of ${request.archive}, which the snapshot has not`);
      const { thread, leave } = this.#thread(open.pool);
      closing.push(leave);
      const download = ++this.#count;
      const work: DownloadWork = { download, space: reader.space, archive, wanted };
      const facts = await open.pool.call<DownloadFacts>(thread, 'download.open', work);
      const { sizeBytes } = facts;
      const source = { pool: open.pool, thread, download, sizeBytes, idleMs: this.#idleMs, onEnd: close };
      return { facts, archive, stream: await DownloadStream.begin(source), release };
    } catch (error) {
      close();
      release();
      throw error;
    }
  }

  /** The one that works for the fewest. */
  #thread(pool: WorkerPool): { thread: number; leave: () => void } {
    const busy = this.#busy.get(pool) ?? new Array<number>(pool.size).fill(0);
    this.#busy.set(pool, busy);
    const thread = busy.indexOf(Math.min(...busy));
    busy[thread] = (busy[thread] as number) + 1;
    return {
      thread,
      leave: () => {
        busy[thread] = (busy[thread] as number) - 1;
      },
    };
  }
}
