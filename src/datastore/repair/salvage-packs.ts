// Sealed packs whose structure is damaged: what they still hold is copied into new packs, and the old file is set aside as `ID.damaged`
// for whoever hopes to mend it. Packs that are whole are not touched, bad records in them included (rule G4).
import { closeSync, fstatSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { createCodec } from '../../chunker/create-codec.ts';
import { Kind, type ObjectId, PLAIN_SPACE } from '../../chunker/object.ts';
import type { ObjectCodec } from '../../chunker/object-codec.ts';
import { syncDirectory } from '../../util/atomic-file.ts';
import { readFully } from '../../util/direct-io.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { ObjectIndex } from '../index/object-index.ts';
import type { Layout } from '../layout.ts';
import { copyRecords, type PackOrigin, packCopier } from '../packs/copy-records.ts';
import { holdersPackFiles } from '../packs/pack-files.ts';
import {
  decodeTrailer,
  FRAME_HEADER_BYTES,
  PACK_HEADER_BYTES,
  PACK_MAX_RECORDS,
  PackKind,
  readTableEntry,
  TABLE_ENTRY_BYTES,
  type TableEntry,
  TRAILER_BYTES,
} from '../packs/pack-format.ts';
import { readPackHeader, readSealedPack, scanRecords } from '../packs/pack-scan.ts';
import { PackState, type PackTable } from '../packs/pack-table.ts';

export interface SalvageContext {
  readonly layout: Layout;
  readonly storeId: Buffer;
  readonly epoch: number;
  readonly index: ObjectIndex;
  readonly packs: PackTable;
  /** Returns when no thread uses a look-up from before. */
  readonly settle: () => Promise<unknown>;
}

export interface SalvagedPack {
  /** File name in `packs/`. */
  readonly file: string;
  readonly problem: 'foreign' | 'header' | 'footer';
  /** Good records that were found, and copied unless this was a dry run. */
  readonly records: number;
}

/** What a repair did, or would do. */
export interface PackRepair {
  readonly packs: readonly SalvagedPack[];
  /** Copies that were quarantined and are good again. */
  readonly copiesReleased: number;
}

/** A pack that is not as it should be, and how to read what is left of it. */
interface Patient {
  readonly problem: SalvagedPack['problem'];
  readonly origin: PackOrigin;
  readonly records: Iterable<TableEntry>;
}

const NO_SESSION = Buffer.alloc(16);

/**
 * Looks at every sealed pack; copies what damaged ones hold, durably, before they are set aside. A dry run only counts.
 * @throws `disk-full`, `write-failed`: what was copied stays, and the next run goes on.
 */
export async function salvagePacks(
  context: SalvageContext,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<SalvagedPack[]> {
  const { layout, index, packs } = context;
  const files = holdersPackFiles(layout);
  const start = packCopier(layout, packs, context);
  const found: SalvagedPack[] = [];
  for (const packId of files.sealed) {
    signal.throwIfAborted();
    const fd = files.openSealed(packId);
    if (fd === undefined) continue;
    let records = 0;
    let patient: Patient | undefined;
    try {
      patient = examine(fd, packId, context.storeId);
      if (patient === undefined) continue;
      records = dryRun ? countOf(patient.records) : copyRecords(fd, patient.origin, patient.records, start, index);
    } finally {
      closeSync(fd);
    }
    found.push({ file: `${packId.toString('hex')}.pack`, problem: patient.problem, records });
    if (!dryRun && patient.problem !== 'foreign') await setAside(context, packId);
  }
  return found;
}

/** Undefined for a pack that is whole. */
function examine(fd: number, packId: Buffer, storeId: Buffer): Patient | undefined {
  if (readSealedPack(fd)?.header.packId.equals(packId) && readPackHeader(fd)?.storeId.equals(storeId)) return undefined;
  const header = readPackHeader(fd);
  if (header?.packId.equals(packId)) {
    if (!header.storeId.equals(storeId)) return { problem: 'foreign', origin: header, records: [] };
    return { problem: 'footer', origin: header, records: together(scanRecords(fd, header), recordsByFooter(fd)) };
  }
  const records = [...recordsByFooter(fd)];
  const isData = records.length > 0 && records.every((record) => record.kind === Kind.data);
  const kind = isData ? PackKind.data : PackKind.metadata;
  return { problem: 'header', origin: { kind, sessionId: NO_SESSION }, records };
}

/** What a scan finds, and what only the footer's table still leads to: a scan stops at a bad record without a checkpoint behind it. */
function* together(scanned: Iterable<TableEntry>, listed: Iterable<TableEntry>): Generator<TableEntry> {
  const offsets = new Set<number>();
  for (const entry of scanned) {
    offsets.add(entry.offset);
    yield entry;
  }
  for (const entry of listed) if (!offsets.has(entry.offset)) yield entry;
}

/**
 * What stands where the footer's table should, as far as it holds. Nothing vouches for it but the objects themselves: a guest may have
 * written what looks like a table. So only ids that can be checked count, those of space plain.
 */
function* recordsByFooter(fd: number): Generator<TableEntry> {
  const { size } = fstatSync(fd);
  const end = Buffer.alloc(TRAILER_BYTES);
  if (size < PACK_HEADER_BYTES + TRAILER_BYTES || readFully(fd, end, size - TRAILER_BYTES) < end.length) return;
  const trailer = decodeTrailer(end);
  if (trailer === undefined || trailer.count > PACK_MAX_RECORDS || trailer.footerOffset > size) return;
  const table = Buffer.alloc(trailer.count * TABLE_ENTRY_BYTES);
  if (readFully(fd, table, trailer.footerOffset + FRAME_HEADER_BYTES + 8) < table.length) return;
  const plain = createCodec(undefined);
  for (let at = 0; at < table.length; at += TABLE_ENTRY_BYTES) {
    const entry = readTableEntry(table, at);
    if (entry.space !== PLAIN_SPACE || entry.offset + entry.length > trailer.footerOffset) continue;
    const record = Buffer.alloc(entry.length);
    readFully(fd, record, entry.offset);
    if (isObject(record, entry, plain)) yield entry;
  }
}

function isObject(record: Buffer, entry: TableEntry, plain: ObjectCodec): boolean {
  try {
    return plain.open(record, Buffer.from(entry.id) as ObjectId).kind === entry.kind;
  } catch (error) {
    if (error instanceof HoldfastError) return false;
    throw error;
  }
}

function countOf(records: Iterable<TableEntry>): number {
  let count = 0;
  for (const _ of records) count++;
  return count;
}

/** Takes a pack out of the store, as `condemned/` would, and keeps its file. */
async function setAside({ layout, packs, settle }: SalvageContext, packId: Buffer): Promise<void> {
  for (let pack = 0; pack < packs.count; pack++)
    if (packs.packId(pack).equals(packId) && packs.state(pack) === PackState.sealed)
      packs.setState(pack, PackState.dropped);
  await settle();
  const path = layout.sealedPack(packId);
  await rename(path, path.replace(/\.pack$/, '.damaged'));
  await syncDirectory(layout.packs);
}
