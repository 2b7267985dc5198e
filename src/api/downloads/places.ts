// How many downloads may run at once: of a datastore, whose threads do the work and hold the memory, and of one user, who is not to keep all others out.
import { type AuthId, userOf } from '../../schema/auth-id.ts';
import { HoldfastError } from '../../util/errors.ts';

export interface PlaceLimits {
  readonly ofStore: number;
  /** With its tokens, in one datastore. */
  readonly ofUser: number;
}

export class Places {
  readonly #what: string;
  readonly #limits: PlaceLimits;
  readonly #taken = new Map<string, number>();

  /** `what` runs, in the plural: for the refusal. */
  constructor(what: string, limits: PlaceLimits) {
    this.#what = what;
    this.#limits = limits;
  }

  /** Those of a datastore that are taken. */
  takenIn(store: string): number {
    return this.#taken.get(store) ?? 0;
  }

  /** What it returns gives the place back, once. @throws `too-many`. */
  take(store: string, caller: AuthId): () => void {
    const { ofStore, ofUser } = this.#limits;
    const user = `${store} ${userOf(caller)}`;
    if ((this.#taken.get(user) ?? 0) >= ofUser)
      throw new HoldfastError(
        'too-many',
        `${ofUser} ${this.#what} of ${userOf(caller)} are running in '${store}', which is the limit; wait until one ends`,
      );
    if (this.takenIn(store) >= ofStore)
      throw new HoldfastError(
        'too-many',
        `${ofStore} ${this.#what} are running in '${store}', which is the limit; wait until one ends`,
      );
    for (const key of [store, user]) this.#add(key, 1);
    let isTaken = true;
    return () => {
      if (isTaken) for (const key of [store, user]) this.#add(key, -1);
      isTaken = false;
    };
  }

  #add(key: string, count: number): void {
    const taken = (this.#taken.get(key) ?? 0) + count;
    if (taken === 0) this.#taken.delete(key);
    else this.#taken.set(key, taken);
  }
}
