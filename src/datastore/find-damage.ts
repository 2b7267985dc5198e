// Damage of archives in any space: ranges where payloads can be read, and only whether there is damage where the key is not here. Refs are
// in the clear, lengths are not.
import { Kind, type ObjectId, PLAIN_SPACE } from '../chunker/object.ts';
import type { Archive } from '../schema/manifest.ts';
import { HoldfastError } from '../util/errors.ts';
import { type ArchiveDamageFinder, type DamagedRange, DamageWalk } from './damage.ts';
import { eachRef, type IndexLocator, type ObjectSource } from './object-source.ts';

/** What finds damage in a space. Its answers count while nothing that it has looked at changes. */
export function damageFinder(locator: IndexLocator, source: ObjectSource, space: number): ArchiveDamageFinder {
  if (space !== PLAIN_SPACE && !source.canOpen(space)) return new ClosureDamage(locator, source, space);
  return new DamageWalk({
    isReadable: (id) => locator.readable(space, id) >= 0,
    read: (id) => source.get(space, id),
  });
}

/** Index entries whose subtree is known to be whole; some 40 bytes each. */
const MAX_REMEMBERED = 1_000_000;

/** Follows refs alone. An archive of which anything is lost is damaged in one range, which is all of it. */
class ClosureDamage implements ArchiveDamageFinder {
  readonly #locator: IndexLocator;
  readonly #source: ObjectSource;
  readonly #space: number;
  readonly #whole = new Set<number>();

  constructor(locator: IndexLocator, source: ObjectSource, space: number) {
    this.#locator = locator;
    this.#source = source;
    this.#space = space;
  }

  ranges({ name, root, sizeBytes }: Archive): DamagedRange[] {
    if (this.#isWhole(Buffer.from(root, 'hex') as ObjectId)) return [];
    return [{ archive: name, offset: 0, length: sizeBytes, withoutKey: true }];
  }

  #isWhole(id: ObjectId): boolean {
    const entry = this.#locator.readable(this.#space, id);
    if (entry < 0) return false;
    if (this.#locator.isData(entry) || this.#whole.has(entry)) return true;
    let refs: Uint8Array;
    try {
      const object = this.#source.refs(this.#space, id);
      if (object.kind === Kind.blob) return true;
      refs = object.refs;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      return false;
    }
    for (const ref of eachRef(refs)) if (!this.#isWhole(ref)) return false;
    if (this.#whole.size >= MAX_REMEMBERED) this.#whole.clear();
    this.#whole.add(entry);
    return true;
  }
}
