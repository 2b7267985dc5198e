// An empty datastore in a temporary directory, and the few things from which its files are made: objects, records, packs.
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Kind, type ObjectId } from '../../src/chunker/object.ts';
import { IdHasher } from '../../src/chunker/object-id.ts';
import { encodeRecord, recordBound } from '../../src/chunker/record.ts';
import { Compressor } from '../../src/chunker/zstd.ts';
import { createDatastore } from '../../src/datastore/config.ts';
import { Layout } from '../../src/datastore/layout.ts';
import { PackKind, readTableEntry, TABLE_ENTRY_BYTES, type TableEntry } from '../../src/datastore/packs/pack-format.ts';
import { readPackHeader, readSealedPack, scanRecords } from '../../src/datastore/packs/pack-scan.ts';
import { PackTable } from '../../src/datastore/packs/pack-table.ts';
import { PackWriter } from '../../src/datastore/packs/pack-writer.ts';
import type { WriteBuffer } from '../../src/datastore/packs/write-buffers.ts';
import { Arena } from '../../src/util/arena.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

export { temporaryDirectory } from '../support/temporary-directory.ts';

const hasher = new IdHasher();
const compressor = new Compressor(1);

export interface MadeRecord {
  readonly id: ObjectId;
  readonly kind: number;
  readonly record: Buffer;
}

export function makeRecord(
  payload: Uint8Array,
  kind: number = Kind.data,
  refs: Uint8Array = Buffer.alloc(0),
): MadeRecord {
  const id = hasher.id(kind, refs, payload);
  const target = Buffer.alloc(recordBound(refs.length, payload.length));
  return { id, kind, record: target.subarray(0, encodeRecord(target, { kind, id, refs, payload }, compressor)) };
}

export const randomRecord = (payloadBytes: number): MadeRecord => makeRecord(randomBytes(payloadBytes));

/** A write buffer of its own arena; small, so that few records fill it. */
export function makeBuffer(fullBytes = 65536, marginBytes = 16384): WriteBuffer {
  const area = new Arena(65536 + fullBytes + marginBytes + 8192).allocate(fullBytes + marginBytes);
  return { ...area, fullBytes };
}

/** Bytes and place of a record that was appended. */
export interface Appended extends MadeRecord {
  readonly space: number;
  readonly offset: number;
}

export class Store {
  readonly layout: Layout;
  readonly storeId: Buffer;
  readonly packs = new PackTable();

  constructor(layout: Layout, storeId: Buffer) {
    this.layout = layout;
    this.storeId = storeId;
  }

  static async create(t: TestContext, parent?: string): Promise<Store> {
    const root = join(temporaryDirectory(t, parent), 'store');
    const config = await createDatastore(root, 65536);
    return new Store(new Layout(root), Buffer.from(config.store, 'hex'));
  }

  writer(buffer = makeBuffer(), kind: number = PackKind.data, storeId = this.storeId): PackWriter {
    return new PackWriter(this.layout, this.packs, { kind, sessionId: Buffer.alloc(16, 5), epoch: 3, storeId }, buffer);
  }

  /** A sealed pack with these records; returns where they are. */
  sealedPack(
    records: readonly MadeRecord[],
    kind: number = PackKind.data,
  ): { pack: number; packId: Buffer; path: string; appended: Appended[] } {
    const writer = this.writer(makeBuffer(), kind);
    const appended = records.map((record) => append(writer, record));
    writer.seal();
    const packId = this.packs.packId(writer.pack);
    return { pack: writer.pack, packId, path: this.layout.sealedPack(packId), appended };
  }

  openPath(writer: PackWriter): string {
    return this.layout.openPack(this.packs.packId(writer.pack));
  }

  sealedPath(writer: PackWriter): string {
    return this.layout.sealedPack(this.packs.packId(writer.pack));
  }

  packFiles(): string[] {
    return readdirSync(this.layout.packs).sort();
  }

  condemnedFiles(): string[] {
    return readdirSync(this.layout.condemned).sort();
  }
}

export function append(writer: PackWriter, made: MadeRecord, space = 0): Appended {
  const { offset, length } = writer.append(space, made.id, made.kind, made.record.length, (target) => {
    target.set(made.record);
    return made.record.length;
  });
  if (length !== made.record.length) throw new Error('append changed the length');
  return { ...made, space, offset };
}

/** The same through the way that finished records take. */
export function appendFinished(writer: PackWriter, made: MadeRecord, space = 0): Appended {
  return { ...made, space, offset: writer.appendRecord(space, made.id, made.kind, made.record) };
}

/** What a scan of a pack file finds, as comparable text; undefined without a header. */
export function scanFile(path: string): string[] | undefined {
  const fd = openSync(path, 'r');
  try {
    const header = readPackHeader(fd);
    return header === undefined ? undefined : [...scanRecords(fd, header)].map(placeText);
  } finally {
    closeSync(fd);
  }
}

/** The footer of a pack file; undefined without a good one. */
export function footerOf(path: string): ReturnType<typeof readSealedPack> {
  const fd = openSync(path, 'r');
  try {
    return readSealedPack(fd);
  } finally {
    closeSync(fd);
  }
}

/** The records that the footer of a pack file lists, as comparable text. */
export function footerPlaces(path: string): string[] {
  const { table } = footerOf(path) ?? {};
  if (table === undefined) throw new Error(`${path} has no footer`);
  return Array.from({ length: table.length / TABLE_ENTRY_BYTES }, (_, n) =>
    placeText(readTableEntry(table, n * TABLE_ENTRY_BYTES)),
  );
}

export const placeText = (entry: TableEntry): string =>
  `${Buffer.from(entry.id).toString('hex').slice(0, 16)} space ${entry.space} at ${entry.offset}+${entry.length} kind ${entry.kind}`;

export const placeOf = ({ id, space, offset, record, kind }: Appended): string =>
  placeText({ id, space, offset, length: record.length, kind, depth: 0 });

/** Whether the record stands in the file where it was put. */
export const standsIn = (path: string, { offset, record }: Appended): boolean =>
  readFileSync(path)
    .subarray(offset, offset + record.length)
    .equals(record);
