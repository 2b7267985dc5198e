// Whether to expect that pages of an image are those of its base. A page that is as expected costs neither a copy of its data nor a question; one that
// is not is read once more. So after one that was not, the next are put as if nothing were known, until some of them would have been right.
import type { ObjectId } from '../../chunker/object.ts';

/** So many pages have to be as expected after one that was not. */
const PENANCE = 4;

export class PageForesight {
  readonly dataId: (offset: number, length: number) => ObjectId;
  readonly take: (page: ObjectId, refs: Uint8Array) => void;
  readonly #mayTrust: () => boolean;
  #owed = 0;

  /** `mayTrust`: whether what the base has is known to be good. `take` notes a page, and what it names, as reused. */
  constructor(
    mayTrust: () => boolean,
    dataId: (offset: number, length: number) => ObjectId,
    take: (page: ObjectId, refs: Uint8Array) => void,
  ) {
    this.#mayTrust = mayTrust;
    this.dataId = dataId;
    this.take = take;
  }

  get isWorthIt(): boolean {
    return this.#owed === 0 && this.#mayTrust();
  }

  learn(wasExpected: boolean): void {
    this.#owed = wasExpected ? Math.max(0, this.#owed - 1) : PENANCE;
  }
}
