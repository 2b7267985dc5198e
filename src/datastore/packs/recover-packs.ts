// After an unclean stop: the good records of every pack without a durable footer are copied into new packs, which are sealed before
// anything in them is published; the old file is dropped. Nothing is trusted, or synced, in place (rule D3). A cut in the middle
// leaves old and new packs, and the next open begins again.
import { closeSync, constants, openSync } from 'node:fs';
import { Arena } from '../../util/arena.ts';
import { readFully } from '../../util/direct-io.ts';
import { insertEntry } from '../index/load-index.ts';
import type { ObjectIndex } from '../index/object-index.ts';
import type { Layout } from '../layout.ts';
import { dropPack } from './condemned.ts';
import { holdersPackFiles } from './pack-files.ts';
import { PACK_HEADER_BYTES, type PackHeader, type TableEntry } from './pack-format.ts';
import { readPackHeader, scanRecords } from './pack-scan.ts';
import type { PackTable } from './pack-table.ts';
import { PackWriter } from './pack-writer.ts';

const BUFFER_BYTES = 4 * 1024 * 1024;
const MARGIN_BYTES = 512 * 1024;

export interface Recovery {
  readonly packs: number;
  readonly records: number;
  readonly warnings: readonly string[];
}

/** Publishes the copies in `index` when they are durable. */
export async function recoverPacks(
  layout: Layout,
  table: PackTable,
  index: ObjectIndex,
  store: { storeId: Buffer; epoch: number },
): Promise<Recovery> {
  const { open } = holdersPackFiles(layout);
  const recovery = { packs: 0, records: 0, warnings: [] as string[] };
  if (open.length === 0) return recovery;
  const area = new Arena(BUFFER_BYTES + MARGIN_BYTES + 65536 + 8192).allocate(BUFFER_BYTES + MARGIN_BYTES);
  for (const packId of open) {
    const path = layout.openPack(packId);
    const fd = openSync(path, constants.O_RDONLY);
    try {
      const header = readPackHeader(fd);
      if (header !== undefined && !header.storeId.equals(store.storeId)) {
        recovery.warnings.push(
          `${path} belongs to another datastore (${header.storeId.toString('hex')}): ignored; move it back where it came from`,
        );
        continue;
      }
      if (header === undefined && wasWritten(fd)) {
        recovery.warnings.push(
          `${path}: its header is damaged, so its records cannot be told from garbage: left alone; put a good copy of it there, or remove it`,
        );
        continue;
      }
      const start = (origin: { kind: number; sessionId: Buffer }): PackWriter =>
        new PackWriter(layout, table, { ...origin, ...store }, { ...area, fullBytes: BUFFER_BYTES });
      // A file without a header never had anything written to it.
      if (header !== undefined) recovery.records += copyRecords(fd, header, start, index);
      recovery.packs++;
    } finally {
      closeSync(fd);
    }
    await dropPack(layout, path, packId);
  }
  return recovery;
}

/** Whether anything stands where the header should: a file that a power cut left empty or zeroed never held a durable record. */
function wasWritten(fd: number): boolean {
  const bytes = Buffer.alloc(PACK_HEADER_BYTES);
  readFully(fd, bytes, 0);
  return bytes.some((byte) => byte !== 0);
}

function copyRecords(
  fd: number,
  header: PackHeader,
  start: (origin: { kind: number; sessionId: Buffer }) => PackWriter,
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
  for (const entry of scanRecords(fd, header)) {
    if (writer?.isFull) publish();
    writer ??= start({ kind: header.kind, sessionId: header.sessionId });
    const { offset } = writer.append(entry.space, entry.id, entry.kind, entry.length, (target) =>
      readFully(fd, target.subarray(0, entry.length), entry.offset),
    );
    copied.push({ ...entry, offset });
    count++;
  }
  publish();
  return count;
}
