// Facts about datastores with their age: read once at a time whoever asks, and for those who ask often kept for a while.
import { Questions } from '../../util/questions.ts';

/** They are read anew after so long at the earliest, however often they are asked for. */
const AGE_MS = 5 * 60_000;
/** Whoever scrapes figures waits some ten seconds for all of them. */
const PATIENCE_MS = 5000;

export class KnownFacts<Facts> {
  readonly #read: () => Promise<Facts>;
  readonly #reading: Questions<Facts>;
  #last: { readonly atMs: number; readonly facts: Facts } | undefined;

  constructor(read: () => Promise<Facts>, patienceMs: number = PATIENCE_MS) {
    this.#read = read;
    this.#reading = new Questions(patienceMs);
  }

  /** Read now, or by whoever reads them already. @throws what reading them throws. */
  async fresh(): Promise<Facts> {
    return await this.#reading.once('', this.#readNow);
  }

  /** Read from now on: a reading that is under way may have passed by what is asked about. @throws what reading them throws. */
  async anew(): Promise<Facts> {
    if (this.#reading.isAsked('')) await this.fresh().catch(() => undefined);
    return await this.fresh();
  }

  /** Some minutes old at most, or older while a reading takes long; undefined before the first. @throws what reading them throws. */
  async recent(): Promise<Facts | undefined> {
    if (this.#last !== undefined && performance.now() - this.#last.atMs < AGE_MS) return this.#last.facts;
    return (await this.#reading.within('', this.#readNow)) ?? this.#last?.facts;
  }

  readonly #readNow = async (): Promise<Facts> => {
    const atMs = performance.now();
    const facts = await this.#read();
    this.#last = { atMs, facts };
    return facts;
  };
}
