// Fills the in-memory index from what is on disk: the snapshot where it holds, else footers; a pack whose footer is bad is scanned.
import { closeSync } from 'node:fs';
import { Kind } from '../../chunker/object.ts';
import type { SharedBuffers } from '../../util/shared-buffers.ts';
import type { Layout } from '../layout.ts';
import type { PackFiles } from '../packs/pack-files.ts';
import { TABLE_ENTRY_BYTES, type TableEntry } from '../packs/pack-format.ts';
import { readPackHeader, readSealedPack, scanRecords } from '../packs/pack-scan.ts';
import { PackTable } from '../packs/pack-table.ts';
import { ENTRY_WORDS, FLAG_DATA, Word } from './index-entry.ts';
import { ObjectIndex } from './object-index.ts';
import { IndexSnapshot } from './snapshot-reader.ts';

export interface LoadedIndex {
  readonly index: ObjectIndex;
  readonly packs: PackTable;
  /** Entries that the snapshot on disk did not have. */
  readonly entriesBeyondSnapshot: number;
  /** The snapshot whose entries were left on disk; its pack table is the start of `packs`. */
  readonly snapshot: IndexSnapshot | undefined;
  /** What a user should know: packs that are damaged or not ours. */
  readonly warnings: readonly string[];
}

/**
 * Loads all sealed packs. Open ones are the caller's: a holder copies them out, a reader scans them.
 * `leaveOnDisk` decides from the snapshot's number of entries whether they stay there, for a command that looks up few.
 */
export function loadIndex(
  layout: Layout,
  storeId: Buffer,
  shared: SharedBuffers,
  files: PackFiles,
  leaveOnDisk: (entries: number) => boolean = () => false,
): LoadedIndex {
  const snapshot = IndexSnapshot.open(layout, storeId, files);
  const stays = snapshot !== undefined && leaveOnDisk(snapshot.head.entryCount);
  try {
    return (
      loadFrom(layout, storeId, shared, files, snapshot, stays) ??
      (loadFrom(layout, storeId, shared, files, undefined, false) as LoadedIndex)
    );
  } finally {
    if (!stays) snapshot?.close();
  }
}

/** Undefined when the snapshot turns out to be damaged. */
function loadFrom(
  layout: Layout,
  storeId: Buffer,
  shared: SharedBuffers,
  files: PackFiles,
  snapshot: IndexSnapshot | undefined,
  stays: boolean,
): LoadedIndex | undefined {
  const packs = new PackTable();
  const index = ObjectIndex.create(shared, stays ? 0 : (snapshot?.head.entryCount ?? 0));
  const warnings: string[] = [];
  const named = new Set<string>();
  for (const pack of snapshot?.head.packs ?? []) {
    named.add(pack.packId.toString('hex'));
    packs.addSealed(pack.packId, pack.kind, pack.fileLength);
  }
  if (snapshot !== undefined && !stays) {
    const whole = snapshot.readAll((entries, count) => index.load(entries, count));
    if (!whole) return undefined;
  }
  const covered = index.count;
  for (const packId of files.sealed) {
    if (named.has(packId.toString('hex'))) continue;
    const fd = files.openSealed(packId);
    if (fd === undefined) continue;
    try {
      loadSealed(layout.sealedPack(packId), fd, storeId, packId, index, packs, warnings);
    } finally {
      closeSync(fd);
    }
  }
  return {
    index,
    packs,
    entriesBeyondSnapshot: index.count - covered,
    warnings,
    snapshot: stays ? snapshot : undefined,
  };
}

function loadSealed(
  path: string,
  fd: number,
  storeId: Buffer,
  packId: Buffer,
  index: ObjectIndex,
  packs: PackTable,
  warnings: string[],
): void {
  const whole = readSealedPack(fd);
  const header = whole?.header ?? readPackHeader(fd);
  if (header === undefined || !header.packId.equals(packId)) {
    warnings.push(
      `${path} is not a pack, or its header is damaged: ignored; objects that only it held will be reported as missing`,
    );
    return;
  }
  if (!header.storeId.equals(storeId)) {
    warnings.push(
      `${path} belongs to another datastore (${header.storeId.toString('hex')}): ignored; move it back where it came from`,
    );
    return;
  }
  if (whole === undefined)
    warnings.push(`${path} is truncated or its footer is damaged: what it still holds was found by a scan`);
  const pack = packs.addSealed(packId, header.kind, whole?.fileLength ?? 0x7fffffff);
  if (whole !== undefined) loadTable(index, pack, whole.table);
  else for (const entry of scanRecords(fd, header)) insertEntry(index, pack, entry);
}

/** Takes all entries of a footer's table over at once. */
function loadTable(index: ObjectIndex, pack: number, table: Buffer): void {
  const count = table.length / TABLE_ENTRY_BYTES;
  const words = new Int32Array(count * ENTRY_WORDS);
  const bytes = new Uint8Array(words.buffer);
  bytes.set(table);
  for (let entry = 0; entry < count; entry++) {
    const at = entry * ENTRY_WORDS;
    const offset = words[at + Word.pack] as number;
    const length = words[at + Word.offset] as number;
    const kind = bytes[at * 4 + 44] as number;
    words[at + Word.pack] = pack;
    words[at + Word.offset] = offset;
    words[at + Word.lengthAndFlags] = length | (kind === Kind.data ? FLAG_DATA : 0);
  }
  index.load(words, count);
}

export function insertEntry(index: ObjectIndex, pack: number, entry: TableEntry): number {
  return index.insert(
    entry.space,
    entry.id,
    pack,
    entry.offset,
    entry.length | (entry.kind === Kind.data ? FLAG_DATA : 0),
  );
}
