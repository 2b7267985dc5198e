// Puts pages of 16 MiB together from clusters in any order. At most 8 pages are open in memory, all else that is not whole yet lies in the
// spill file: a cluster is written there once at most, when its page has to make room, and read back when the page is whole.
import { PAGE_BYTES } from '../../chunker/object.ts';
import { PAGE_CLUSTERS } from './cluster-set.ts';
import type { SpillFile } from './spill-file.ts';
import { CLUSTER_BYTES } from './vma-layout.ts';

const OPEN_PAGES = 8;
/** More than a device has pages, and clusters: 64 TiB. */
const DEVICE_PAGES = 2 ** 22;
const DEVICE_CLUSTERS = DEVICE_PAGES * PAGE_CLUSTERS;
/** A place in the spill file and the mask of blocks, in one number. */
const MASKS = 0x10000;

/** The bytes of a page in shared memory. What `masks` does not say is stored may hold anything. */
export interface PageContent {
  readonly bytes: Uint8Array;
  readonly masks: Uint16Array;
}

export class PageAssembler {
  readonly #spill: SpillFile;
  /** The page that was touched last is the last. */
  readonly #open = new Map<number, PageContent>();
  readonly #spilled = new Map<number, number>();
  readonly #free: Uint8Array[] = [];

  constructor(spill: SpillFile) {
    this.#spill = spill;
  }

  /** Room for a cluster of which `mask` is stored, valid until the next call. @throws what the spill file does. */
  async room(device: number, cluster: number, mask: number): Promise<Uint8Array> {
    const page = Math.floor(cluster / PAGE_CLUSTERS);
    const key = device * DEVICE_PAGES + page;
    let content = this.#open.get(key);
    if (content === undefined) {
      for (const [oldest, old] of this.#open) {
        if (this.#open.size < OPEN_PAGES) break;
        await this.#putAside(oldest, old);
      }
      content = this.#newPage();
    } else this.#open.delete(key);
    this.#open.set(key, content);
    content.masks[cluster % PAGE_CLUSTERS] = mask;
    return clusterOf(content, cluster % PAGE_CLUSTERS);
  }

  /** Takes a page out of which all clusters have come; undefined when it is zeros. */
  async take(device: number, page: number): Promise<PageContent | undefined> {
    const key = device * DEVICE_PAGES + page;
    let content = this.#open.get(key);
    this.#open.delete(key);
    const first = device * DEVICE_CLUSTERS + page * PAGE_CLUSTERS;
    for (let cluster = 0; cluster < PAGE_CLUSTERS && this.#spilled.size > 0; cluster++) {
      const spilled = this.#spilled.get(first + cluster);
      if (spilled === undefined) continue;
      this.#spilled.delete(first + cluster);
      content ??= this.#newPage();
      content.masks[cluster] = spilled % MASKS;
      await this.#spill.read(Math.floor(spilled / MASKS), clusterOf(content, cluster));
    }
    return content;
  }

  /** Takes back the memory of a page that was taken. */
  release({ bytes }: PageContent): void {
    this.#free.push(bytes);
  }

  #newPage(): PageContent {
    const bytes = this.#free.pop() ?? new Uint8Array(new SharedArrayBuffer(PAGE_BYTES));
    return { bytes, masks: new Uint16Array(PAGE_CLUSTERS) };
  }

  async #putAside(key: number, content: PageContent): Promise<void> {
    const first = Math.floor(key / DEVICE_PAGES) * DEVICE_CLUSTERS + (key % DEVICE_PAGES) * PAGE_CLUSTERS;
    for (const [cluster, mask] of content.masks.entries()) {
      if (mask === 0) continue;
      const place = await this.#spill.write(clusterOf(content, cluster));
      this.#spilled.set(first + cluster, place * MASKS + mask);
    }
    this.#open.delete(key);
    this.release(content);
  }
}

function clusterOf({ bytes }: PageContent, cluster: number): Uint8Array {
  return bytes.subarray(cluster * CLUSTER_BYTES, (cluster + 1) * CLUSTER_BYTES);
}
