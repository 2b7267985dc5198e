// Which byte ranges of an archive cannot be read back: those whose data, page or list has no good copy left.

import { parseList } from '../chunker/list.ts';
import { copyId, ID_BYTES, Kind, type ObjectId, type StoredObject } from '../chunker/object.ts';
import { parsePage } from '../chunker/page.ts';
import type { Archive } from '../schema/manifest.ts';
import { HoldfastError } from '../util/errors.ts';

export interface DamagedRange {
  readonly archive: string;
  readonly offset: number;
  readonly length: number;
}

/** What the walk needs to know of the store. */
export interface DamageSource {
  /** Whether a copy of the object is there that is not known to be bad. */
  isReadable(id: ObjectId): boolean;
  read(id: ObjectId): StoredObject;
}

/** Walks the metadata of an archive and yields its damaged ranges, neighbouring ones joined. Data objects are not read. */
export function damagedRanges(source: DamageSource, archive: Archive): DamagedRange[] {
  const ranges: { archive: string; offset: number; length: number }[] = [];
  const note = (offset: number, length: number): void => {
    const last = ranges.at(-1);
    if (last !== undefined && last.offset + last.length === offset) last.length += length;
    else ranges.push({ archive: archive.name, offset, length });
  };
  const walk = (id: ObjectId, kind: number, offset: number, length: number): void => {
    if (!source.isReadable(id)) {
      note(offset, length);
      return;
    }
    if (kind === Kind.data || kind === Kind.blob) return;
    let children: Child[];
    try {
      children = childrenOf(source.read(id));
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      note(offset, length);
      return;
    }
    for (const child of children) walk(child.id, child.kind, offset + child.offset, child.length);
  };
  walk(
    Buffer.from(archive.root, 'hex') as ObjectId,
    archive.kind === 'blob' ? Kind.blob : Kind.list,
    0,
    archive.sizeBytes,
  );
  return ranges;
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
