// Backs up one disk image: pages go to the worker threads, their ids come back in order into lists. With a base and a change map only
// touched pages are worked on; all others are named as they are.
import { cutRecord, diskCutParameters } from '../../chunker/cut-parameters.ts';
import { ListBuilder } from '../../chunker/list.ts';
import { Kind, type ObjectId, PAGE_BYTES, parseId } from '../../chunker/object.ts';
import type { Archive } from '../../schema/manifest.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { inOrder } from '../in-order.ts';
import { isLostObject } from '../restore/piece-restorer.ts';
import { joinRanges, RangeCursor } from '../sources/ranges.ts';
import type { DiskSource, Range } from '../sources/source.ts';
import { type BasePage, basePages } from './base-pages.ts';
import { ABORT_LANE, PAGE_LANES, type PageResult, type PageWork } from './page-cutter.ts';
import type { SampleResult } from './sample-piece.ts';
import { SamplePlan } from './sample-plan.ts';
import type { Session } from './session.ts';

/** Pages under way: what waits is an id, and between two touched pages lie many that take no time. */
const PAGES_AHEAD = 1024;
/** To read so much takes as long as a few questions. */
const WIDE_CHANGE_BYTES = 1024 * 1024;

export interface ImageWork {
  readonly name: string;
  readonly source: DiskSource;
  readonly averageBytes: number;
  /** Undefined for the public one. */
  readonly cutSeed: string | undefined;
  /** The same image in the base snapshot and what changed since; absent for a full read. */
  readonly incremental: { readonly base: Archive; readonly changed: readonly Range[] } | undefined;
  /** The same image in the base snapshot, for a full read: most of its pages may be the same. */
  readonly likely?: Archive | undefined;
  readonly onProgress: (bytesDone: number) => void;
  readonly signal: AbortSignal;
}

export interface ImageResult {
  readonly archive: Archive;
  readonly bytesRead: number;
  readonly bytesSampled: number;
}

/** The change map said "unchanged" of a range that did change. */
export class ChangeMapLie extends Error {
  readonly range: Range;

  constructor(range: Range) {
    super(`the disk differs at byte ${range.offset} although the change map does not name it`);
    this.range = range;
  }
}

/**
 * @throws ChangeMapLie when a sample of what should be unchanged differs: read the image in full then.
 */
export async function backupImage(pool: WorkerPool, session: Session, work: ImageWork): Promise<ImageResult> {
  const { source, signal } = work;
  const cut = diskCutParameters(work.averageBytes, work.cutSeed);
  const lists = new ListBuilder(Kind.page, (kind, refs, payload) => session.put(kind, refs, payload));
  const sums = { bytesRead: 0, bytesSampled: 0 };
  const pages = planPages(session, work);
  await pool.all('backup.openDisk', { locator: source.locator, cut });
  // A page may take minutes where reading has a limit.
  const giveUp = (): void => {
    for (let thread = 0; thread < pool.size; thread++)
      pool.call(thread, 'backup.giveUpDisk', undefined, [], ABORT_LANE).catch(() => undefined);
  };
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    await inOrder(
      pool.size * PAGE_LANES,
      pages,
      async (page, place) => {
        const [thread, lane] = [place % pool.size, Math.floor(place / pool.size)];
        const call = async <Result>(method: string, work: unknown): Promise<Result> =>
          await pool.call(thread, method, { session: session.id, locator: source.locator, work }, [], lane);
        signal.throwIfAborted();
        let { work: pageWork } = page;
        if (page.sample !== undefined) {
          const sample = await call<SampleResult>('backup.sample', page.sample);
          sums.bytesSampled += sample.bytesRead;
          if (sample.lie !== undefined) throw new ChangeMapLie(sample.lie);
          if (sample.isLost) pageWork = { offset: page.offset, length: page.length, zeros: [], base: undefined };
        }
        if (pageWork === undefined) return page.id;
        const result = await call<PageResult>('backup.page', pageWork);
        sums.bytesRead += result.bytesRead;
        return result.page === undefined ? undefined : (Buffer.from(result.page) as ObjectId);
      },
      async (page, id) => {
        await lists.add({ length: page.length, id });
        work.onProgress(page.offset + page.length);
      },
      PAGES_AHEAD,
    );
  } finally {
    signal.removeEventListener('abort', giveUp);
    await pool.all('backup.closeDisk', undefined);
  }
  const root = await lists.finish();
  await source.checkUnchanged();
  return {
    archive: {
      name: work.name,
      kind: 'image',
      sizeBytes: source.sizeBytes,
      root: root.toString('hex'),
      chunker: cutRecord(cut),
    },
    ...sums,
  };
}

interface PlannedPage {
  readonly offset: number;
  readonly length: number;
  /** Undefined: `id` holds already. */
  readonly work: PageWork | undefined;
  readonly id: ObjectId | undefined;
  readonly sample: ReturnType<SamplePlan['of']>;
}

async function* planPages(session: Session, work: ImageWork): AsyncGenerator<PlannedPage> {
  const { source, incremental } = work;
  const base = incremental === undefined ? undefined : pagesOf(session, incremental.base);
  const likely = base === undefined && work.likely !== undefined ? likelyPages(session, work.likely) : undefined;
  const changes = new RangeCursor(incremental?.changed ?? []);
  const asked = incremental === undefined ? undefined : wideChanges(incremental, source.sizeBytes);
  const zeros = new RangeCursor(asked?.length === 0 ? [] : source.zeroRanges(work.signal, asked));
  const samples =
    incremental === undefined
      ? undefined
      : new SamplePlan(Math.min(source.sizeBytes, incremental.base.sizeBytes), work.averageBytes);
  try {
    for (let offset = 0; offset < source.sizeBytes; offset += PAGE_BYTES) {
      const length = Math.min(PAGE_BYTES, source.sizeBytes - offset);
      const old = await nextPage(base);
      if (old === undefined || old.length !== length) {
        // Beyond the base, or where the disk ends at another place than it did: read as if nothing were known.
        const page = fullPage(offset, length, await zeros.within(offset, length));
        const expected = (await nextPage(likely))?.id;
        yield page.work === undefined ? page : { ...page, work: { ...page.work, expected } };
        continue;
      }
      const changed = await changes.within(offset, length);
      const sample = samples?.of({ offset, length, page: old.id, changed });
      if (changed.length === 0) {
        yield { offset, length, work: undefined, id: old.id, sample };
        continue;
      }
      const page = fullPage(offset, length, await zeros.within(offset, length));
      yield page.work === undefined
        ? page
        : { ...page, work: { ...page.work, base: { page: old.id, changed } }, id: old.id, sample };
    }
  } finally {
    await zeros.close();
    await base?.return(undefined);
    await likely?.return(undefined);
  }
}

/** Of what changed, or was not there, the ranges that are worth a question whether they are zeros now: a guest that trims its file systems changes all that is free. */
function wideChanges({ base, changed }: NonNullable<ImageWork['incremental']>, sizeBytes: number): Range[] {
  const grown = { offset: base.sizeBytes, length: Math.max(0, sizeBytes - base.sizeBytes) };
  return joinRanges([...changed, grown]).filter((range) => range.length >= WIDE_CHANGE_BYTES);
}

/** Ends where the base has lost a list: pages that nobody expects are put, and what is lost comes back with them. */
async function* likelyPages(session: Session, archive: Archive): AsyncGenerator<BasePage> {
  try {
    yield* pagesOf(session, archive);
  } catch (error) {
    if (!isLostObject(error)) throw error;
  }
}

function pagesOf(session: Session, { root }: Archive): AsyncGenerator<BasePage> {
  return basePages(parseId(root) as ObjectId, (id) => session.get(id));
}

function fullPage(offset: number, length: number, zeros: readonly Range[]): PlannedPage {
  const isZero = zeros.length === 1 && zeros[0]?.offset === 0 && zeros[0].length === length;
  return {
    offset,
    length,
    work: isZero ? undefined : { offset, length, zeros, base: undefined },
    id: undefined,
    sample: undefined,
  };
}

async function nextPage(pages: AsyncGenerator<BasePage> | undefined): Promise<BasePage | undefined> {
  const next = await pages?.next();
  return next === undefined || next.done === true ? undefined : next.value;
}
