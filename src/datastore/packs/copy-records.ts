// Copies records that were found in a pack into new packs, which are sealed before anything in them is published (rule D3).
import { Arena } from '../../util/arena.ts';
import { readFully } from '../../util/direct-io.ts';
import { insertEntry } from '../index/load-index.ts';
import type { ObjectIndex } from '../index/object-index.ts';
import type { Layout } from '../layout.ts';
import type { TableEntry } from './pack-format.ts';
import type { PackTable } from './pack-table.ts';
import { PackWriter } from './pack-writer.ts';

const BUFFER_BYTES = 4 * 1024 * 1024;
const MARGIN_BYTES = 512 * 1024;

/** What a new pack takes over from the one that it is copied from. */
export interface PackOrigin {
  readonly kind: number;
  readonly sessionId: Buffer;
}

/** Starts packs one after the other in memory of their own. */
export function packCopier(
  layout: Layout,
  table: PackTable,
  store: { storeId: Buffer; epoch: number },
): (origin: PackOrigin) => PackWriter {
  const area = new Arena(BUFFER_BYTES + MARGIN_BYTES + 65536 + 8192).allocate(BUFFER_BYTES + MARGIN_BYTES);
  return ({ kind, sessionId }) =>
    new PackWriter(layout, table, { kind, sessionId, ...store }, { ...area, fullBytes: BUFFER_BYTES });
}

/** Copies `records` of the pack at `fd` and publishes the copies in `index`; returns how many. */
export function copyRecords(
  fd: number,
  { kind, sessionId }: PackOrigin,
  records: Iterable<TableEntry>,
  start: (origin: PackOrigin) => PackWriter,
  index: ObjectIndex,
): number {
  let count = 0;
  let writer: PackWriter | undefined;
  let copied: TableEntry[] = [];
  const publish = (): void => {
    if (writer === undefined) return;
    writer.seal();
    for (const entry of copied) insertEntry(index, writer.pack, entry);
    copied = [];
    writer = undefined;
  };
  for (const entry of records) {
    if (writer?.isFull) publish();
    writer ??= start({ kind, sessionId });
    const { offset } = writer.append(entry.space, entry.id, entry.kind, entry.length, (target) =>
      readFully(fd, target.subarray(0, entry.length), entry.offset),
    );
    copied.push({ ...entry, offset });
    count++;
  }
  publish();
  return count;
}
