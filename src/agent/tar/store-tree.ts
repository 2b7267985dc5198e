// Writes the directories of a finished tree, the deepest first, so that each names objects that are stored. Many small directories go to a worker in
// one call; the threads work side by side on one depth at a time.
import { Content, type DirectoryEntry, encodeParts, LeafBuilder } from '../../chunker/directory.ts';
import { ID_BYTES, Kind, type ObjectId } from '../../chunker/object.ts';
import { FileType, readStat, sizeOf, writeStat } from '../../chunker/stat-block.ts';
import type { ByteString } from '../../util/byte-string.ts';
import { endsPartBefore, MAX_PART_BYTES } from '../tree/directory-writer.ts';
import type { EntryStore } from './entry-store.ts';
import { NOWHERE, TreeDirectory, type TreeFile } from './member-tree.ts';

const BATCH_OBJECTS = 256;
const BATCH_BYTES = 1024 * 1024;

/** A directory that no member describes: its parent would have been made with these as well. */
const DEFAULT_DIRECTORY = {
  mode: FileType.directory | 0o755,
  uid: 0,
  gid: 0,
  nlink: 1,
  sizeBytes: 0,
  mtimeNs: 0n,
  ctimeNs: 0n,
  inode: 0n,
  major: 0,
  minor: 0,
  attributes: 0,
};

interface NewObject {
  readonly kind: number;
  readonly refs: Uint8Array;
  readonly payload: Uint8Array;
}

/** Stores objects in one thread; their ids, one after the other. */
export type PutObjects = (thread: number, objects: readonly NewObject[]) => Promise<Uint8Array>;

export interface StoredTree {
  readonly root: ObjectId;
  /** The top included. */
  readonly entries: number;
  /** Of all regular files; one with several names counts once. */
  readonly sizeBytes: number;
}

/** All files of the tree have their entries in `store`. `threads` calls of `put` run at a time. */
export async function storeTree(
  top: TreeDirectory,
  store: EntryStore,
  threads: number,
  put: PutObjects,
  signal: AbortSignal,
): Promise<StoredTree> {
  const levels = depths(top);
  const sums = countNames(levels, store);
  for (const level of levels.reverse()) {
    const work = batches(level, store);
    const run = async (thread: number): Promise<void> => {
      for (const batch of work) {
        signal.throwIfAborted();
        const ids = await put(
          thread,
          batch.map(({ object }) => object),
        );
        for (const [place, { stored }] of batch.entries())
          stored(Buffer.from(ids.subarray(place * ID_BYTES, (place + 1) * ID_BYTES)));
      }
    };
    const outcomes = await Promise.allSettled(Array.from({ length: threads }, (_, thread) => run(thread)));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    for (const directory of level) await joinParts(directory, put);
  }
  const leaf = new LeafBuilder();
  leaf.add(directoryEntry('' as ByteString, top, store));
  const root = await put(0, [{ kind: Kind.directory, ...leaf.finish() }]);
  return { root: Buffer.from(root) as ObjectId, ...sums };
}

/** The directories of each depth. */
function depths(top: TreeDirectory): TreeDirectory[][] {
  const levels: TreeDirectory[][] = [];
  for (let level = [top]; level.length > 0; ) {
    levels.push(level);
    const next: TreeDirectory[] = [];
    for (const { children } of level)
      for (const child of children.values()) if (child instanceof TreeDirectory) next.push(child);
    level = next;
  }
  return levels;
}

/** Gives each file the number of its names: some of those that its archive had may have been replaced. */
function countNames(
  levels: readonly TreeDirectory[][],
  store: EntryStore,
): { readonly entries: number; readonly sizeBytes: number } {
  let entries = 1;
  let sizeBytes = 0;
  for (const level of levels)
    for (const { children } of level)
      for (const child of children.values()) {
        entries++;
        if (child instanceof TreeDirectory) continue;
        if (child.names++ === 0) sizeBytes += sizeOf(store.read(child.entry, '' as ByteString).stat);
      }
  return { entries, sizeBytes };
}

interface Wanted {
  readonly object: NewObject;
  stored(id: Uint8Array): void;
}

/** The objects of one depth, in the order of the directories; of a large directory its parts. */
function* batches(level: readonly TreeDirectory[], store: EntryStore): Generator<Wanted[]> {
  let batch: Wanted[] = [];
  let bytes = 0;
  for (const directory of level)
    for (const wanted of directoryObjects(directory, store)) {
      batch.push(wanted);
      bytes += wanted.object.refs.length + wanted.object.payload.length;
      if (batch.length < BATCH_OBJECTS && bytes < BATCH_BYTES) continue;
      yield batch;
      batch = [];
      bytes = 0;
    }
  if (batch.length > 0) yield batch;
}

function* directoryObjects(directory: TreeDirectory, store: EntryStore): Generator<Wanted> {
  const leaf = new LeafBuilder();
  const parts: { readonly first: ByteString; id: ObjectId }[] = [];
  let first = '' as ByteString;
  const endPart = (): Wanted => {
    const part = { first, id: Buffer.alloc(0) as unknown as ObjectId };
    parts.push(part);
    return {
      object: { kind: Kind.directory, ...leaf.finish() },
      stored: (id) => {
        part.id = id as ObjectId;
      },
    };
  };
  for (const name of [...directory.children.keys()].sort()) {
    if (endsPartBefore(name, leaf.count) || leaf.sizeBytes >= MAX_PART_BYTES) yield endPart();
    if (leaf.count === 0) first = name;
    const child = directory.children.get(name) as TreeFile | TreeDirectory;
    leaf.add(child instanceof TreeDirectory ? directoryEntry(name, child, store) : fileEntry(name, child, store));
  }
  if (parts.length > 0) {
    if (leaf.count > 0) yield endPart();
    directory.parts = parts;
    return;
  }
  yield {
    object: { kind: Kind.directory, ...leaf.finish() },
    stored: (id) => {
      directory.id = id;
    },
  };
}

async function joinParts(directory: TreeDirectory, put: PutObjects): Promise<void> {
  if (directory.parts === undefined) return;
  directory.id = Buffer.from(await put(0, [{ kind: Kind.directory, ...encodeParts(directory.parts) }]));
  directory.parts = undefined;
}

function directoryEntry(name: ByteString, directory: TreeDirectory, store: EntryStore): DirectoryEntry {
  const refs = directory.id as Uint8Array;
  if (directory.entry !== NOWHERE) return { ...store.read(directory.entry, name), content: Content.directory, refs };
  const none = new Uint8Array(0);
  const stat = writeStat(DEFAULT_DIRECTORY);
  return { name, content: Content.directory, marks: 0, errno: 0, stat, xattrs: none, contentBytes: none, refs };
}

/** Inode numbers tell the names of one file, and nothing of the system that the archive came from. */
function fileEntry(name: ByteString, file: TreeFile, store: EntryStore): DirectoryEntry {
  const entry = store.read(file.entry, name);
  if (file.names === 1) return entry;
  const stat = writeStat({ ...readStat(entry.stat), nlink: file.names, inode: BigInt(file.inode) });
  return { ...entry, stat };
}
