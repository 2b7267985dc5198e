// A worker thread's part in backup, restore, serving and downloads: pages to cut, streams to cut, samples to compare, ranges to restore, pieces to load. It knows
// sinks and fetchers, not the datastore behind them.

import type { DiskCutParameters, StreamCutParameters } from '../chunker/cut-parameters.ts';
import { type Cutter, createCutter } from '../chunker/cutter.ts';
import { copyId, type ObjectId, type StoredObject } from '../chunker/object.ts';
import type { Area, Arena } from '../util/arena.ts';
import { HoldfastError } from '../util/errors.ts';
import type { Handlers } from '../util/worker-pool.ts';
import { PAGE_LANES, PageCutter, type PageResult, type PageWork } from './backup/page-cutter.ts';
import { comparePiece, type SampleResult, type SampleWork } from './backup/sample-piece.ts';
import { type ContentsWork, type CutContents, StreamCutter, type StreamPiece } from './backup/stream-cutter.ts';
import { DownloadThread } from './download/download-thread.ts';
import type { ObjectFetcher, ObjectSink } from './object-sink.ts';
import { isLostObject, type LostRange, PieceRestorer, type RestorePiece } from './restore/piece-restorer.ts';
import type { RestoredRange, RestoreWork } from './restore/restore-work.ts';
import { BufferTarget, FileTarget, type FileTargetLocator, type RangeTarget } from './restore/target.ts';
import { type LoadFailure, type LoadWork, loadPieces } from './serve/load-pieces.ts';
import { openDiskReader } from './sources/reader.ts';
import type { DiskReader, SourceLocator } from './sources/source.ts';
import { TreeBackupThread } from './tree/backup/tree-thread.ts';
import { TreeRestoreThread } from './tree/restore/restore-thread.ts';
import { PageBytes, type PageBytesWork } from './vma/page-bytes.ts';

/** The largest piece that any parameters allow: four times the largest average of a datastore. */
export const MAX_PIECE_BYTES = 1024 * 1024;
const ZERO_BYTES = 1024 * 1024;

/** What the thread needs from whoever has the objects. */
export interface ThreadObjects {
  sink(sessionId: string): ObjectSink;
  fetcher(space: number): ObjectFetcher;
}

export class AgentThread {
  readonly #objects: ThreadObjects;
  readonly #cutter: Cutter;
  readonly #pages: readonly PageCutter[];
  readonly #streams: StreamCutter;
  readonly #trees: TreeBackupThread;
  readonly #restorer: PieceRestorer;
  readonly #treeRestore: TreeRestoreThread;
  readonly #downloads: DownloadThread;
  readonly #zeros: Area;
  #slab: Uint8Array | undefined;
  #reader: { locator: string; reader: DiskReader } | undefined;
  #target: { locator: string; target: FileTarget } | undefined;

  /** Takes its areas from the arena; backup and restore use the same ones, for a thread does one of them at a time. */
  constructor(objects: ThreadObjects, arena: Arena) {
    this.#objects = objects;
    this.#cutter = createCutter(arena.memory);
    const window = arena.allocate(AgentThread.#windowBytes);
    // The first lane's pages have the window of everything else.
    const more = Array.from({ length: PAGE_LANES - 1 }, () => arena.allocate(AgentThread.#pageWindowBytes));
    this.#pages = [window, ...more].map((each) => new PageCutter(this.#cutter, each));
    this.#streams = new StreamCutter(this.#cutter, window);
    this.#trees = new TreeBackupThread((session) => objects.sink(session), this.#cutter, window);
    this.#restorer = new PieceRestorer(arena.bytes, window);
    this.#treeRestore = new TreeRestoreThread(this.#restorer, (space) => this.#objects.fetcher(space));
    this.#downloads = new DownloadThread((space) => ({
      fetcher: this.#objects.fetcher(space),
      restore: (work) => this.#restore(work),
    }));
    this.#zeros = arena.allocate(ZERO_BYTES);
  }

  static readonly #pageWindowBytes = PageCutter.windowBytes(MAX_PIECE_BYTES);

  static readonly #windowBytes = Math.max(
    AgentThread.#pageWindowBytes,
    TreeBackupThread.windowBytes(MAX_PIECE_BYTES),
    PieceRestorer.outputBytes(MAX_PIECE_BYTES),
  );

  /** Bytes of arena that a thread's areas take. */
  static readonly arenaBytes =
    AgentThread.#windowBytes + (PAGE_LANES - 1) * AgentThread.#pageWindowBytes + ZERO_BYTES + (PAGE_LANES + 1) * 4096;

  handlers(): Handlers {
    return {
      'backup.openDisk': async ({ locator, cut }: { locator: SourceLocator; cut: DiskCutParameters }) => {
        this.#setCut(cut);
        await this.#disk(locator);
      },
      'backup.page': async (
        { session, locator, work }: { session: string; locator: SourceLocator; work: PageWork },
        lane = 0,
      ): Promise<PageResult> =>
        await this.#pageCutter(lane).run(work, await this.#disk(locator), this.#objects.sink(session)),
      'backup.sample': async ({
        session,
        locator,
        work,
      }: {
        session: string;
        locator: SourceLocator;
        work: SampleWork;
      }): Promise<SampleResult> => await comparePiece(work, await this.#disk(locator), this.#objects.sink(session)),
      'backup.giveUpDisk': () => this.#reader?.reader.giveUp?.(),
      'backup.closeDisk': async () => await this.#closeDisk(),
      'backup.openPages': (cut: DiskCutParameters) => this.#setCut(cut),
      'backup.pageBytes': async ({ session, bytes, masks, length }: PageBytesWork): Promise<PageResult> => {
        const page = new PageBytes(bytes, masks, length);
        const work = { offset: 0, length, zeros: page.zeroRanges(), base: undefined };
        return await this.#pageCutter(0).run(work, page, this.#objects.sink(session));
      },
      'backup.openStream': (cut: StreamCutParameters) => {
        this.#cutter.setStream(cut);
        this.#streams.start();
      },
      'backup.streamBytes': ({
        session,
        bytes,
        final,
      }: {
        session: string;
        bytes: Uint8Array;
        final: boolean;
      }): StreamPiece[] => this.#streams.take(bytes, final, this.#objects.sink(session)),
      'backup.contents': (work: ContentsWork): CutContents =>
        this.#streams.takeContents(work, this.#objects.sink(work.session)),
      'backup.putObjects': ({
        session,
        objects,
      }: {
        session: string;
        objects: readonly StoredObject[];
      }): Uint8Array => {
        const sink = this.#objects.sink(session);
        return Buffer.concat(objects.map(({ kind, refs, payload }) => copyId(sink.put(kind, refs, payload))));
      },
      ...this.#trees.handlers(),
      'restore.range': (work: RestoreWork): RestoredRange => this.#restore(work),
      'restore.closeTarget': () => this.#closeTarget(),
      ...this.#treeRestore.handlers(),
      ...this.#downloads.handlers(),
      'serve.slab': (slab: SharedArrayBuffer) => {
        this.#slab = new Uint8Array(slab);
      },
      'serve.load': (work: LoadWork): LoadFailure[] =>
        loadPieces(work, this.#slab as Uint8Array, this.#restorer, this.#objects.fetcher(work.space)),
    };
  }

  #setCut(cut: DiskCutParameters): void {
    this.#cutter.setDisk(cut);
    for (const pages of this.#pages) pages.setMaxPiece(cut.maxBytes);
  }

  #pageCutter(lane: number): PageCutter {
    const pages = this.#pages[lane];
    if (pages === undefined) throw new Error(`a thread has ${PAGE_LANES} pages under way, and no lane ${lane}`);
    return pages;
  }

  async #disk(locator: SourceLocator): Promise<DiskReader> {
    const name = JSON.stringify(locator);
    if (this.#reader?.locator !== name) {
      await this.#closeDisk();
      this.#reader = { locator: name, reader: await openDiskReader(locator) };
    }
    return this.#reader.reader;
  }

  async #closeDisk(): Promise<void> {
    const reader = this.#reader?.reader;
    this.#reader = undefined;
    await reader?.close();
  }

  #restore(work: RestoreWork): RestoredRange {
    const fetcher = this.#objects.fetcher(work.space);
    const lost: LostRange[] = [];
    const pieces = this.#piecesOf(work, fetcher, lost);
    const buffer = work.target === undefined ? new BufferTarget(work.offset, work.length) : undefined;
    const target = buffer ?? this.#fileTarget(work.target as FileTargetLocator);
    this.#restorer.run(pieces, work.offset, fetcher, target, work.zeroLost ? lost : undefined);
    return { bytes: buffer?.buffer, lost };
  }

  /** The pieces of a range; of a page that is lost, one hole. */
  #piecesOf(work: RestoreWork, fetcher: ObjectFetcher, lost: LostRange[]): readonly RestorePiece[] {
    if (work.pieces !== undefined) return work.pieces;
    try {
      const pieces = PieceRestorer.piecesOf(fetcher, Buffer.from(work.page as Uint8Array) as ObjectId);
      const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
      // The target has room for so many.
      if (bytes === work.length) return pieces;
      throw new HoldfastError('object-damaged', `a page has ${bytes} bytes where its list says ${work.length}`);
    } catch (error) {
      if (!work.zeroLost || !isLostObject(error)) throw error;
      lost.push({ offset: work.offset, length: work.length });
      return [{ length: work.length, id: undefined }];
    }
  }

  #fileTarget(locator: FileTargetLocator): RangeTarget {
    const name = JSON.stringify(locator);
    if (this.#target?.locator !== name) {
      this.#closeTarget();
      this.#target = { locator: name, target: new FileTarget(locator, this.#zeros) };
    }
    return this.#target.target;
  }

  #closeTarget(): void {
    const target = this.#target?.target;
    this.#target = undefined;
    target?.close();
  }
}
