// Which byte ranges of an archive cannot be read back: those whose data, page or list has no good copy left. Every distinct subtree is
// walked once, however many snapshots share it and however often one tree repeats it, and what is kept and returned is bounded. File trees have
// no ranges: tree-damage.ts.

import { parseList } from '../chunker/list.ts';
import { copyId, ID_BYTES, Kind, type ObjectId, type StoredObject } from '../chunker/object.ts';
import { parsePage } from '../chunker/page.ts';
import type { Archive } from '../schema/manifest.ts';
import { HoldfastError } from '../util/errors.ts';
import type { TreeDamage } from './damaged-paths.ts';

export interface DamagedRange {
  readonly archive: string;
  readonly offset: number;
  readonly length: number;
  /** Something of the archive is damaged, and without its key nobody can say where: the range is all of it. */
  readonly withoutKey?: true;
}

/** Tells the damage of archives of one space. */
export interface ArchiveDamageFinder {
  /** The damaged ranges, neighbouring ones joined; none of an archive that is whole. */
  ranges(archive: Archive): DamagedRange[];
  /** The damaged files of a tree; undefined of all else, and where the key is not here. */
  files(archive: Archive): TreeDamage | undefined;
}

/** What the walk needs to know of the store. */
export interface DamageSource {
  /** Whether a copy of the object is there that is not known to be bad. */
  isReadable(id: ObjectId): boolean;
  read(id: ObjectId): StoredObject;
}

/** Most ranges of one archive: what lies beyond is joined to the last one, which then covers intact bytes too. */
export const MAX_DAMAGED_RANGES = 10_000;
/** Subtrees that are remembered, some 150 bytes each; then the memory begins anew. */
const MAX_REMEMBERED = 500_000;

/** Damaged ranges within a subtree, counted from its start; undefined when all of it is lost. */
type Found = readonly { offset: number; length: number }[] | undefined;

/** Damage of many archives over one source, which must not change meanwhile for what was walked already. */
export class DamageWalk {
  readonly #source: DamageSource;
  readonly #maxRanges: number;
  readonly #remembered = new Map<string, Found>();

  constructor(source: DamageSource, maxRanges = MAX_DAMAGED_RANGES) {
    this.#source = source;
    this.#maxRanges = maxRanges;
  }

  /** Walks the metadata of an archive that is no file tree and returns its damaged ranges, neighbouring ones joined. Data objects are not read. */
  ranges(archive: Archive): DamagedRange[] {
    const root = Buffer.from(archive.root, 'hex') as ObjectId;
    const found = this.#walk(root, archive.kind === 'blob' ? Kind.blob : Kind.list);
    const whole = [{ offset: 0, length: archive.sizeBytes }];
    return (found ?? whole).map((range) => ({ archive: archive.name, ...range }));
  }

  /** What is lost of the bytes below a list, counted from their start; undefined when all is. */
  below(list: ObjectId): readonly { readonly offset: number; readonly length: number }[] | undefined {
    return this.#walk(list, Kind.list);
  }

  #walk(id: ObjectId, kind: number): Found {
    if (!this.#source.isReadable(id)) return undefined;
    if (kind === Kind.data || kind === Kind.blob) return [];
    const name = id.toString('latin1');
    const known = this.#remembered.get(name);
    if (known !== undefined || this.#remembered.has(name)) return known;
    const found = this.#open(id);
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(name, found);
    return found;
  }

  #open(id: ObjectId): Found {
    let children: Child[];
    try {
      children = childrenOf(this.#source.read(id));
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      return undefined;
    }
    const ranges: { offset: number; length: number }[] = [];
    for (const child of children) {
      const found = this.#walk(child.id, child.kind) ?? [{ offset: 0, length: child.length }];
      this.#append(ranges, found, child.offset);
    }
    return ranges;
  }

  /** Adds ranges of a child. Costs no more than there is room left for: a tree may name one child a thousand times on each level. */
  #append(ranges: { offset: number; length: number }[], found: NonNullable<Found>, shift: number): void {
    for (const range of found) {
      const last = ranges.at(-1);
      const offset = shift + range.offset;
      if (last !== undefined && last.offset + last.length === offset) last.length += range.length;
      else if (last !== undefined && ranges.length >= this.#maxRanges) {
        const end = found.at(-1) as { offset: number; length: number };
        last.length = shift + end.offset + end.length - last.offset;
        return;
      } else ranges.push({ offset, length: range.length });
    }
  }
}

interface Child {
  readonly id: ObjectId;
  readonly kind: number;
  readonly offset: number;
  readonly length: number;
}

/** What a page or list names, without its holes. @throws `object-damaged` for a malformed one, and for any other object. */
function childrenOf({ kind, refs, payload }: StoredObject): Child[] {
  if (kind === Kind.page) {
    return parsePage(payload, refs.length / ID_BYTES)
      .filter((piece) => piece.ref >= 0)
      .map(({ ref, offset, length }) => ({ id: copyId(refs, ref * ID_BYTES), kind: Kind.data, offset, length }));
  }
  if (kind !== Kind.list)
    throw new HoldfastError('object-damaged', `an object of kind ${kind} stands where a page or list should be`);
  const { childKind, entries } = parseList(payload, refs);
  const children: Child[] = [];
  let offset = 0;
  for (const { id, length } of entries) {
    if (id !== undefined) children.push({ id, kind: childKind, offset, length });
    offset += length;
  }
  return children;
}
