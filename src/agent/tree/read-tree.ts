// Reads the directories of an archive: the way in for restore, tar and browsing. Holds one leaf at a time; memory does not grow with the tree.
import { Content, type DirectoryEntry, type DirectoryPart, parseDirectory } from '../../chunker/directory.ts';
import { Kind, type ObjectId, type StoredObject } from '../../chunker/object.ts';
import { type ByteString, display } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';

/** Reads and checks one object of the snapshot's space. */
export type GetObject = (id: ObjectId) => Promise<StoredObject>;

/** The entry of the top directory, whose name is empty. @throws `object-missing`, `object-damaged`. */
export async function readRoot(get: GetObject, root: ObjectId): Promise<DirectoryEntry> {
  const { kind, payload, refs } = await get(root);
  if (kind !== Kind.directory) throw notDirectory(root);
  return (parseDirectory(payload, refs, true).entries as readonly DirectoryEntry[])[0] as DirectoryEntry;
}

/**
 * The entries of a directory in the order of their names, from the first that is not below `from` on.
 * @throws `object-missing`, `object-damaged`.
 */
export async function* readEntries(
  get: GetObject,
  directory: ObjectId,
  from = '' as ByteString,
): AsyncGenerator<DirectoryEntry> {
  const { entries, parts } = await readDirectory(get, directory);
  if (entries !== undefined) {
    for (const entry of entries) if (entry.name >= from) yield entry;
    return;
  }
  for (const [place, part] of parts.entries()) {
    const next = parts[place + 1];
    if (next !== undefined && next.first <= from) continue;
    for (const entry of await readPart(get, part, next)) if (entry.name >= from) yield entry;
  }
}

/** The entry of that name; undefined when there is none. Reads at most one part. */
export async function findEntry(
  get: GetObject,
  directory: ObjectId,
  name: ByteString,
): Promise<DirectoryEntry | undefined> {
  for await (const entry of readEntries(get, directory, name)) return entry.name === name ? entry : undefined;
  return undefined;
}

/**
 * The entry at a path below the top (components divided by one slash; empty: the top itself). Symbolic links are not followed.
 * @throws `not-found` that names the component which is missing or no directory.
 */
export async function findPath(get: GetObject, root: ObjectId, path: ByteString): Promise<DirectoryEntry> {
  let entry = await readRoot(get, root);
  let done = '' as ByteString;
  for (const name of path.split('/').filter((part) => part !== '' && part !== '.') as ByteString[]) {
    const found = entry.content === Content.directory ? await findEntry(get, directoryOf(entry), name) : undefined;
    if (found === undefined)
      throw new HoldfastError(
        'not-found',
        `${display(`${done}/${name}` as ByteString)} is not in this archive; look with: holdfast snapshot files`,
      );
    entry = found;
    done = `${done}/${name}` as ByteString;
  }
  return entry;
}

/** The directory object that an entry names. */
export function directoryOf(entry: DirectoryEntry): ObjectId {
  return Buffer.from(entry.refs) as ObjectId;
}

/** A directory object: its entries, or its parts. @throws `object-missing`, `object-damaged`. */
export async function readDirectory(get: GetObject, id: ObjectId): Promise<ReturnType<typeof parseDirectory>> {
  const { kind, payload, refs } = await get(id);
  if (kind !== Kind.directory) throw notDirectory(id);
  return parseDirectory(payload, refs);
}

/** The entries of a part, which lie between its first name and that of the next part. */
export async function readPart(
  get: GetObject,
  part: DirectoryPart,
  next: DirectoryPart | undefined,
): Promise<readonly DirectoryEntry[]> {
  const { entries } = await readDirectory(get, part.id);
  const last = entries?.at(-1);
  if (entries?.[0]?.name !== part.first || last === undefined || (next !== undefined && last.name >= next.first))
    throw new HoldfastError('object-damaged', 'a part of a directory does not hold the names that it should');
  return entries;
}

function notDirectory(id: ObjectId): HoldfastError {
  return new HoldfastError('object-damaged', `object ${id.toString('hex').slice(0, 16)}… is not a directory`);
}
