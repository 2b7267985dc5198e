// What the index knows of one pack, as the table that its footer would be.
import { Kind } from '../../chunker/object.ts';
import { FLAG_DATA } from '../index/index-entry.ts';
import type { ObjectIndex } from '../index/object-index.ts';
import { TABLE_ENTRY_BYTES, writeTableEntry } from '../packs/pack-format.ts';

/** In the order of offsets; kind 0 where the index does not say more than that it is metadata. Looks at every entry of the store. */
export function indexedTable(index: ObjectIndex, pack: number): Buffer {
  const entries: number[] = [];
  for (const entry of index.entries()) if (index.pack(entry) === pack) entries.push(entry);
  entries.sort((a, b) => index.offset(a) - index.offset(b));
  const table = Buffer.alloc(entries.length * TABLE_ENTRY_BYTES);
  entries.forEach((entry, place) => {
    writeTableEntry(table, place * TABLE_ENTRY_BYTES, {
      id: index.id(entry),
      space: index.space(entry),
      offset: index.offset(entry),
      length: index.length(entry),
      kind: index.has(entry, FLAG_DATA) ? Kind.data : 0,
      depth: 0,
    });
  });
  return table;
}
