// Pages of one device that were stored in any order, into the lists of its image in theirs. Holds one byte a page, and the ids of those
// that wait for an earlier one.
import { ListBuilder, type PutObject } from '../../chunker/list.ts';
import { Kind, type ObjectId, PAGE_BYTES } from '../../chunker/object.ts';

const WAITED_FOR = 0;
const STORED = 1;
const ZEROS = 2;

export class PageOrder {
  readonly #sizeBytes: number;
  readonly #lists: ListBuilder;
  readonly #states: Uint8Array;
  readonly #ids = new Map<number, ObjectId>();
  #next = 0;

  constructor(sizeBytes: number, put: PutObject) {
    this.#sizeBytes = sizeBytes;
    this.#lists = new ListBuilder(Kind.page, put);
    this.#states = new Uint8Array(Math.ceil(sizeBytes / PAGE_BYTES));
  }

  /** Takes a page, each once; without an id it is zeros. One call at a time. */
  async add(page: number, id: ObjectId | undefined): Promise<void> {
    this.#states[page] = id === undefined ? ZEROS : STORED;
    if (id !== undefined) this.#ids.set(page, id);
    for (; this.#next < this.#states.length && this.#states[this.#next] !== WAITED_FOR; this.#next++) {
      const length = Math.min(PAGE_BYTES, this.#sizeBytes - this.#next * PAGE_BYTES);
      await this.#lists.add({ length, id: this.#ids.get(this.#next) });
      this.#ids.delete(this.#next);
    }
  }

  /** The root, once all pages are there. */
  async finish(): Promise<ObjectId> {
    if (this.#next < this.#states.length) throw new Error(`page ${this.#next} of an image was never stored`);
    return await this.#lists.finish();
  }
}
