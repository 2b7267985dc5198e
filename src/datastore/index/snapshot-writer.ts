// Writes the index snapshot: entries of sealed packs, sorted by id, behind a head that names the packs. Memory: 4 bytes an entry
// and one bucket. The file is a cache, so it is not synced; a torn one fails its checks and is ignored.
import { closeSync, openSync, readSync, renameSync, statSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { closeQuietly } from '../../util/direct-io.ts';
import type { Layout } from '../layout.ts';
import { decodeTrailer, TRAILER_BYTES } from '../packs/pack-format.ts';
import { PackState, type PackTable } from '../packs/pack-table.ts';
import { ENTRY_BYTES, ENTRY_WORDS, FLAG_QUARANTINED, Word } from './index-entry.ts';
import type { ObjectIndex } from './object-index.ts';
import { encodeSnapshotHead, fanoutBitsFor, headBytes, type SnapshotPack } from './snapshot-format.ts';

const WRITE_BYTES = 4 * 1024 * 1024;

/** Returns the length of the file in bytes. */
export function writeIndexSnapshot(layout: Layout, storeId: Buffer, index: ObjectIndex, packTable: PackTable): number {
  const { packs, placeOf } = namedPacks(layout, packTable);
  const fanoutBits = fanoutBitsFor(index.count);
  const buckets = 2 ** fanoutBits;
  const { order, ends } = bucketOrder(index, placeOf, fanoutBits);
  const entryCount = order.length;
  const entriesOffset = headBytes(packs.length, fanoutBits);
  const checks = new Uint32Array(buckets);
  const temporary = `${layout.indexSnapshot}.tmp`;
  const fd = openSync(temporary, 'w', 0o640);
  try {
    let position = entriesOffset;
    let pending: Buffer[] = [];
    let pendingBytes = 0;
    const write = (): void => {
      const bytes = Buffer.concat(pending);
      writeSync(fd, bytes, 0, bytes.length, position);
      position += bytes.length;
      pending = [];
      pendingBytes = 0;
    };
    for (let bucket = 0; bucket < buckets; bucket++) {
      const start = bucket === 0 ? 0 : (ends[bucket - 1] as number);
      const bytes = sortedEntries(index, placeOf, order.subarray(start, ends[bucket]));
      checks[bucket] = crc32(bytes);
      pending.push(bytes);
      pendingBytes += bytes.length;
      if (pendingBytes >= WRITE_BYTES) write();
    }
    write();
    const head = encodeSnapshotHead({ storeId, fanoutBits, entryCount, entriesOffset, packs, ends, checks });
    writeSync(fd, head, 0, head.length, 0);
    closeSync(fd);
  } catch (error) {
    closeQuietly(fd);
    throw error;
  }
  renameSync(temporary, layout.indexSnapshot);
  return entriesOffset + entryCount * ENTRY_BYTES;
}

/** The sealed packs, and for each number in the pack table its place among them, or -1. */
function namedPacks(layout: Layout, table: PackTable): { packs: SnapshotPack[]; placeOf: Int32Array } {
  const packs: SnapshotPack[] = [];
  const placeOf = new Int32Array(table.count).fill(-1);
  for (let pack = 0; pack < table.count; pack++) {
    if (table.state(pack) !== PackState.sealed) continue;
    const packId = table.packId(pack);
    const path = layout.sealedPack(packId);
    const fileLength = statSync(path).size;
    const trailer = decodeTrailer(readEnd(path, fileLength));
    if (trailer === undefined) continue;
    placeOf[pack] = packs.length;
    packs.push({ packId, footerMac: trailer.mac, fileLength, recordCount: trailer.count, kind: table.kind(pack) });
  }
  return { packs, placeOf };
}

function readEnd(path: string, fileLength: number): Buffer {
  const bytes = Buffer.alloc(TRAILER_BYTES);
  const fd = openSync(path, 'r');
  try {
    readSync(fd, bytes, 0, TRAILER_BYTES, fileLength - TRAILER_BYTES);
  } finally {
    closeQuietly(fd);
  }
  return bytes;
}

/** Entry numbers grouped by bucket, and where each bucket ends. */
function bucketOrder(index: ObjectIndex, placeOf: Int32Array, bits: number): { order: Uint32Array; ends: Uint32Array } {
  const bucketAt = (words: Int32Array, base: number): number => {
    const word = words[base] as number;
    return (((word & 0xff) << 8) | ((word >>> 8) & 0xff)) >>> (16 - bits);
  };
  const ends = new Uint32Array(2 ** bits);
  let total = 0;
  for (const entry of index.entries()) {
    const { words, base } = index.words(entry);
    if ((placeOf[words[base + Word.pack] as number] as number) < 0) continue;
    ends[bucketAt(words, base)]!++;
    total++;
  }
  const next = new Uint32Array(ends.length);
  for (let bucket = 1; bucket < ends.length; bucket++) {
    next[bucket] = (next[bucket - 1] as number) + (ends[bucket - 1] as number);
  }
  const order = new Uint32Array(total);
  for (const entry of index.entries()) {
    const { words, base } = index.words(entry);
    if ((placeOf[words[base + Word.pack] as number] as number) < 0) continue;
    order[next[bucketAt(words, base)]!++] = entry;
  }
  return { order, ends: next };
}

function sortedEntries(index: ObjectIndex, placeOf: Int32Array, entries: Uint32Array): Buffer {
  const rows = Array.from(entries, (entry) => {
    const { words, base } = index.words(entry);
    const row = Buffer.from(Buffer.from(words.buffer, base * 4, ENTRY_BYTES));
    const word = new Int32Array(row.buffer, row.byteOffset, ENTRY_WORDS);
    word[Word.pack] = placeOf[word[Word.pack] as number] as number;
    word[Word.lengthAndFlags] = (word[Word.lengthAndFlags] as number) & ~FLAG_QUARANTINED;
    return row;
  });
  rows.sort(compareEntries);
  return Buffer.concat(rows);
}

/** By id bytes, then space, pack and offset. */
function compareEntries(a: Buffer, b: Buffer): number {
  return (
    a.compare(b, 0, 32, 0, 32) ||
    a.readUInt32LE(32) - b.readUInt32LE(32) ||
    a.readUInt32LE(36) - b.readUInt32LE(36) ||
    a.readUInt32LE(40) - b.readUInt32LE(40)
  );
}
