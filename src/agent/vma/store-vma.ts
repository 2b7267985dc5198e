// Stores what a VMA archive holds: whole pages go to the worker threads as those of any disk do, each device becomes an image, each file a blob.
// In memory are 8 pages that are not whole, and two for each thread.
import { cutRecord, diskCutParameters } from '../../chunker/cut-parameters.ts';
import { Kind, type ObjectId } from '../../chunker/object.ts';
import type { Archive } from '../../schema/manifest.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { PageResult } from '../backup/page-cutter.ts';
import type { Session } from '../backup/session.ts';
import { inOrder } from '../in-order.ts';
import type { ExactReader } from './exact-reader.ts';
import { PageAssembler } from './page-assembler.ts';
import { PageOrder } from './page-order.ts';
import { SpillFile } from './spill-file.ts';
import { readVmaPages, type VmaPage } from './vma-pages.ts';
import type { VmaPlan } from './vma-plan.ts';

/** One is cut while the next is put together. */
const PAGES_PER_THREAD = 2;
/** What may lie aside because it came far out of order. */
export const MAX_SPILL_BYTES = 64 * 2 ** 30;

export interface VmaWork {
  readonly averageBytes: number;
  /** Undefined for the public one. */
  readonly cutSeed: string | undefined;
  /** Where a temporary file may be made. */
  readonly spillDirectory: string;
  readonly onProgress: (bytesDone: number, bytesTotal: number) => void;
  readonly signal: AbortSignal;
}

/** @throws what `readVmaPages` and the session do. */
export async function storeVma(
  pool: WorkerPool,
  session: Session,
  reader: ExactReader,
  plan: VmaPlan,
  work: VmaWork,
): Promise<Archive[]> {
  const put = session.put.bind(session);
  const cut = diskCutParameters(work.averageBytes, work.cutSeed);
  const orders = new Map(plan.images.map(({ device }) => [device.id, new PageOrder(device.sizeBytes, put)]));
  const bytesTotal = plan.images.reduce((sum, { device }) => sum + device.sizeBytes, 0);
  let bytesDone = 0;
  const spill = new SpillFile(work.spillDirectory, MAX_SPILL_BYTES);
  const assembler = new PageAssembler(spill);
  const storePage = async ({ content, length }: VmaPage, lane: number): Promise<ObjectId | undefined> => {
    work.signal.throwIfAborted();
    if (content === undefined) return undefined;
    const call = { session: session.id, ...content, length };
    const { page } = await pool.call<PageResult>(lane % pool.size, 'backup.pageBytes', call);
    assembler.release(content);
    return page === undefined ? undefined : (Buffer.from(page) as ObjectId);
  };
  await pool.all('backup.openPages', cut);
  try {
    await inOrder(
      pool.size * PAGES_PER_THREAD,
      readVmaPages(
        reader,
        plan.header,
        plan.images.map(({ device }) => device),
        assembler,
      ),
      storePage,
      async ({ device, page, length }, id) => {
        await (orders.get(device.id) as PageOrder).add(page, id);
        bytesDone += length;
        work.onProgress(bytesDone, bytesTotal);
      },
    );
  } finally {
    await spill.close();
  }
  const archives: Archive[] = [];
  for (const { device, name } of plan.images) {
    const root = (await (orders.get(device.id) as PageOrder).finish()).toString('hex');
    archives.push({ name, kind: 'image', sizeBytes: device.sizeBytes, root, chunker: cutRecord(cut) });
  }
  for (const { name, content } of plan.blobs) {
    const root = (await put(Kind.blob, new Uint8Array(0), content)).toString('hex');
    archives.push({ name, kind: 'blob', sizeBytes: content.length, root });
  }
  return archives;
}
