// A directory whose object is not known yet: what of it is stored, what waits for directories below, and who waits for it. All of these together
// are as many as lie along the way from the top to what is worked on.
import { Content, encodeParts, LeafBuilder } from '../../../chunker/directory.ts';
import { ID_BYTES, Kind, type ObjectId } from '../../../chunker/object.ts';
import { type ByteString, below } from '../../../util/byte-string.ts';
import type { ExcludeRulesJson } from '../select/exclude.ts';
import type { ChildDirectory, Draft, PartResult } from './directory-work.ts';

/** Stores one object. */
export type Put = (kind: number, refs: Uint8Array, payload: Uint8Array) => Promise<Uint8Array>;

/** What became of a directory: its object, or the errno with which it could not be read. */
export type Outcome = { readonly id: Uint8Array } | { readonly errno: number };

interface OpenPart {
  readonly first: ByteString;
  id: Uint8Array | undefined;
  draft: Draft | undefined;
  /** Of the draft's children, by their place. */
  readonly outcomes: Outcome[];
  waiting: number;
}

/** Where a directory is missing. */
interface Place {
  readonly directory: OpenDirectory;
  readonly part: OpenPart;
  readonly child: number;
}

export class OpenDirectory {
  /** Below the top; empty for the top itself. */
  readonly path: ByteString;
  /** Its object in the base snapshot. */
  readonly base: Uint8Array | undefined;
  /** What is left out in it and below; complete once it was listed. */
  rules: ExcludeRulesJson | undefined;
  readonly #identity: string;
  readonly #place: Place | undefined;
  #slices: (readonly OpenPart[])[] = [];
  /** Slices that nobody worked on yet, and parts that wait for directories. */
  #waiting = 1;

  private constructor(path: ByteString, child: Pick<ChildDirectory, 'base' | 'identity'>, place: Place | undefined) {
    this.path = path;
    this.base = child.base;
    this.#identity = child.identity;
    this.#place = place;
    this.rules = place?.directory.rules;
  }

  static top(identity: string, base: Uint8Array | undefined, rules: ExcludeRulesJson | undefined): OpenDirectory {
    const top = new OpenDirectory('' as ByteString, { base, identity }, undefined);
    top.rules = rules;
    return top;
  }

  /** Its names come in so many calls instead of one. */
  expectSlices(count: number): void {
    this.#waiting += count - 1;
  }

  /** Takes what a worker made of one slice; the directories in it that are to be worked on now. */
  take(slice: number, parts: readonly PartResult[]): OpenDirectory[] {
    const open = parts.map(({ first, id, draft }) => ({
      first,
      id,
      draft,
      outcomes: [],
      waiting: draft?.children.length ?? 0,
    }));
    this.#slices[slice] = open;
    this.#waiting += open.filter(({ waiting }) => waiting > 0).length - 1;
    return open.flatMap((part) =>
      (part.draft?.children ?? []).map(
        (child, place) =>
          new OpenDirectory(below(this.path, child.name), child, { directory: this, part, child: place }),
      ),
    );
  }

  get isComplete(): boolean {
    return this.#waiting === 0;
  }

  /** Whether one of the directories above is the same one: mounts that contain each other. */
  get isLoop(): boolean {
    for (let above = this.#place; above !== undefined; above = above.directory.#place)
      if (above.directory.#identity === this.#identity) return true;
    return false;
  }

  /** Stores its object; all its parts are stored. */
  async store(put: Put): Promise<Outcome> {
    const parts = this.#slices
      .flat()
      .map(({ first, id }) => ({ first, id: Buffer.from(id as Uint8Array) as ObjectId }));
    this.#slices = [];
    const [only] = parts;
    if (parts.length === 1 && only !== undefined) return { id: only.id };
    // Of nothing but slices in which all is excluded, an empty leaf.
    const { refs, payload } = parts.length === 0 ? EMPTY_LEAF : encodeParts(parts);
    return { id: await put(Kind.directory, refs, payload) };
  }

  /** Tells what became of it to whoever waits, and stores what is complete by that, upwards; the top's outcome once that is known. */
  async settle(outcome: Outcome, put: Put): Promise<Outcome | undefined> {
    let result = outcome;
    for (let place = this.#place; place !== undefined; place = place.directory.#place) {
      const { directory, part, child } = place;
      part.outcomes[child] = result;
      if (--part.waiting > 0) return undefined;
      const { refs, payload } = completed(part.draft as Draft, part.outcomes);
      part.draft = undefined;
      part.id = await put(Kind.directory, refs, payload);
      if (--directory.#waiting > 0) return undefined;
      result = await directory.store(put);
    }
    return result;
  }
}

const EMPTY_LEAF = new LeafBuilder().finish();

/** A draft with the objects of its directories; one that could not be read is marked so, and names none. */
function completed(
  { refs, payload, children }: Draft,
  outcomes: readonly Outcome[],
): { refs: Buffer; payload: Buffer } {
  const entries = Buffer.from(payload);
  const ids: Uint8Array[] = [];
  let done = 0;
  children.forEach(({ ref, entryAt }, place) => {
    const outcome = outcomes[place] as Outcome;
    ids.push(refs.subarray(done, ref * ID_BYTES));
    done = (ref + 1) * ID_BYTES;
    if ('id' in outcome) ids.push(outcome.id);
    else {
      entries[entryAt + 1] = Content.unreadable;
      entries[entryAt + 3] = outcome.errno;
    }
  });
  ids.push(refs.subarray(done));
  return { refs: Buffer.concat(ids), payload: entries };
}
