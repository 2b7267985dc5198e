// Walks a tree in the order of the names, a directory before what it holds. Memory: one leaf for each level; what is found goes out in
// batches, so that a directory of a million entries is never held. A directory that is lost does not keep the rest back.
import { Content, type DirectoryEntry, type DirectoryPart } from '../../../chunker/directory.ts';
import type { ObjectId } from '../../../chunker/object.ts';
import { type ByteString, below } from '../../../util/byte-string.ts';
import { isLostObject } from '../../restore/piece-restorer.ts';
import { directoryOf, type GetObject, readDirectory, readPart } from '../read-tree.ts';

/** An entry and where it is: its path below the top of the archive. */
export interface FoundEntry {
  readonly path: ByteString;
  readonly entry: DirectoryEntry;
  /** 0 for the entry that the walk began at. */
  readonly depth: number;
}

export interface WalkOptions {
  /** How deep to go: 0 gives the start alone, 1 what a directory holds. */
  readonly maxDepth: number;
  /** Told of a directory, or a part of one, that cannot be read. Without it the walk ends with the error. */
  readonly onLost?: (path: ByteString, error: Error) => void;
}

/** Entries of a batch. */
const BATCH_ENTRIES = 512;

/** One directory under way. */
interface Level {
  readonly path: ByteString;
  readonly depth: number;
  readonly parts: readonly DirectoryPart[];
  nextPart: number;
  entries: readonly DirectoryEntry[];
  next: number;
}

/**
 * The entry at `path`, and what is below it. Views into what `get` gave stay valid.
 * @throws `object-missing`, `object-damaged` without `onLost`.
 */
export async function* walkTree(
  get: GetObject,
  start: DirectoryEntry,
  path: ByteString,
  { maxDepth, onLost }: WalkOptions,
): AsyncGenerator<readonly FoundEntry[]> {
  const attempt = async <Result>(where: ByteString, read: () => Promise<Result>): Promise<Result | undefined> => {
    try {
      return await read();
    } catch (error) {
      if (onLost === undefined || !isLostObject(error)) throw error;
      onLost(where, error as Error);
      return undefined;
    }
  };
  let batch: FoundEntry[] = [{ path, entry: start, depth: 0 }];
  const levels: Level[] = [];
  const enter = async (entry: DirectoryEntry, where: ByteString, depth: number): Promise<void> => {
    if (entry.content !== Content.directory || depth >= maxDepth) return;
    const level = await attempt(where, () => openLevel(get, directoryOf(entry), where, depth + 1));
    if (level !== undefined) levels.push(level);
  };
  await enter(start, path, 0);
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const entry = level.entries[level.next++];
    if (entry !== undefined) {
      const found = { path: below(level.path, entry.name), entry, depth: level.depth };
      batch.push(found);
      if (entry.content === Content.directory) await enter(entry, found.path, level.depth);
    } else if (level.nextPart < level.parts.length) {
      const { parts, nextPart } = level;
      const part = parts[level.nextPart++] as DirectoryPart;
      level.entries = (await attempt(level.path, () => readPart(get, part, parts[nextPart + 1]))) ?? [];
      level.next = 0;
    } else levels.pop();
    if (batch.length < BATCH_ENTRIES) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function openLevel(get: GetObject, directory: ObjectId, path: ByteString, depth: number): Promise<Level> {
  const { entries, parts } = await readDirectory(get, directory);
  return { path, depth, parts: parts ?? [], nextPart: 0, entries: entries ?? [], next: 0 };
}
