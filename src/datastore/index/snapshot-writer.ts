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
  // A pack that was added after the packs were listed has no place at all.
  const isNamed = (words: Int32Array, base: number): boolean => (placeOf[words[base + Word.pack] as number] ?? -1) >= 0;
  const ends = new Uint32Array(2 ** bits);
  let total = 0;
  for (const entry of index.entries()) {
    const { words, base } = index.words(entry);
    if (!isNamed(words, base)) continue;
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
    if (!isNamed(words, base)) continue;
    order[next[bucketAt(words, base)]!++] = entry;
  }
  return { order, ends: next };
}

/** The entries of one bucket in the order of the snapshot, as bytes. */
function sortedEntries(index: ObjectIndex, placeOf: Int32Array, entries: Uint32Array): Buffer {
  // Most ids differ in their first word: sorting by it alone touches no entry.
  const firstWords = Uint32Array.from(entries, (entry) => {
    const { words, base } = index.words(entry);
    return swapBytes(words[base] as number);
  });
  const order = Uint32Array.from(entries, (_, place) => place);
  order.sort(
    (a, b) =>
      (firstWords[a] as number) - (firstWords[b] as number) ||
      compareEntries(index, placeOf, entries[a] as number, entries[b] as number),
  );
  const sorted = new Int32Array(entries.length * ENTRY_WORDS);
  let at = 0;
  for (const place of order) {
    const { words, base } = index.words(entries[place] as number);
    for (let word = 0; word < ENTRY_WORDS; word++) sorted[at + word] = words[base + word] as number;
    sorted[at + Word.pack] = placeOf[words[base + Word.pack] as number] as number;
    sorted[at + Word.lengthAndFlags] = (words[base + Word.lengthAndFlags] as number) & ~FLAG_QUARANTINED;
    at += ENTRY_WORDS;
  }
  return Buffer.from(sorted.buffer);
}

/** By id bytes, then space, pack and offset. */
function compareEntries(index: ObjectIndex, placeOf: Int32Array, left: number, right: number): number {
  const a = index.words(left);
  const b = index.words(right);
  for (let word = 0; word < 8; word++) {
    const difference = swapBytes(a.words[a.base + word] as number) - swapBytes(b.words[b.base + word] as number);
    if (difference !== 0) return difference;
  }
  const space = ((a.words[a.base + Word.space] as number) >>> 0) - ((b.words[b.base + Word.space] as number) >>> 0);
  if (space !== 0) return space;
  const packs =
    (placeOf[a.words[a.base + Word.pack] as number] as number) -
    (placeOf[b.words[b.base + Word.pack] as number] as number);
  return packs || (a.words[a.base + Word.offset] as number) - (b.words[b.base + Word.offset] as number);
}

/** A word of an id as the number that its bytes spell, so that numbers compare as bytes do. */
function swapBytes(word: number): number {
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}
