// Which byte ranges of an archive cannot be read back: those whose data, page or list has no good copy left.

import { parseList } from '../chunker/list.ts';
import { Kind, type ObjectId, type StoredObject } from '../chunker/object.ts';
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
    let object: StoredObject;
    try {
      object = source.read(id);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      note(offset, length);
      return;
    }
    if (object.kind === Kind.page) {
      for (const piece of parsePage(object.payload, object.refs.length / 32)) {
        if (piece.ref < 0) continue;
        walk(
          object.refs.subarray(piece.ref * 32, piece.ref * 32 + 32) as ObjectId,
          Kind.data,
          offset + piece.offset,
          piece.length,
        );
      }
    } else {
      const list = parseList(object.payload, object.refs);
      let at = offset;
      for (const entry of list.entries) {
        if (entry.id !== undefined) walk(entry.id, list.childKind, at, entry.length);
        at += entry.length;
      }
    }
  };
  walk(
    Buffer.from(archive.root, 'hex') as ObjectId,
    archive.kind === 'blob' ? Kind.blob : Kind.list,
    0,
    archive.sizeBytes,
  );
  return ranges;
}
