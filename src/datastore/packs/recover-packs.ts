// After an unclean stop: the good records of every pack without a durable footer are copied into new packs, which are sealed before
// anything in them is published; the old file is dropped. Nothing is trusted, or synced, in place (rule D3). A cut in the middle
// leaves old and new packs, and the next open begins again.
import { closeSync, constants, openSync } from 'node:fs';
import { readFully } from '../../util/direct-io.ts';
import type { ObjectIndex } from '../index/object-index.ts';
import type { Layout } from '../layout.ts';
import { dropPack } from './condemned.ts';
import { copyRecords, packCopier } from './copy-records.ts';
import { holdersPackFiles } from './pack-files.ts';
import { PACK_HEADER_BYTES } from './pack-format.ts';
import { readPackHeader, scanRecords } from './pack-scan.ts';
import type { PackTable } from './pack-table.ts';

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
  const start = packCopier(layout, table, store);
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
      // A file without a header never had anything written to it.
      if (header !== undefined) recovery.records += copyRecords(fd, header, scanRecords(fd, header), start, index);
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
