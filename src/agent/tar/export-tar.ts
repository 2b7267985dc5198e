// Writes a file tree as a tar archive: the tree is walked in order, contents are read by the worker threads in pieces of work of about 1 MiB, small
// files together, and the archive is put together in order. Memory does not grow with the tree, but for the files with several names, which are bounded.
import { Content, type DirectoryEntry, eachXattr } from '../../chunker/directory.ts';
import { type ObjectId, parseId, type StoredObject } from '../../chunker/object.ts';
import { FileType, fileType, inodeKey, readStat, sizeOf } from '../../chunker/stat-block.ts';
import { type ByteString, below, display } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Threads } from '../../util/worker-pool.ts';
import { inOrder } from '../in-order.ts';
import type { RestorePiece } from '../restore/piece-restorer.ts';
import type { RestoredRange, RestoreWork } from '../restore/restore-work.ts';
import { filePieces, inlineContent } from '../tree/file-content.ts';
import { aclText } from '../tree/ids/posix-acl.ts';
import { directoryOf, findPath, type GetObject, readEntries } from '../tree/read-tree.ts';
import { type Extent, MAX_EXTENTS, type Xattr } from './tar-member.ts';
import type { TarOutput } from './tar-output.ts';
import { TarPacker } from './tar-packer.ts';
import { type EncodedMember, encodeMember, type NewMember } from './write-member.ts';

const WORK_BYTES = 1024 * 1024;
const WORK_PIECES = 1024;
const BLOCK_BYTES = 512;
/** An archive ends with zeros up to a record, as those of tar do. */
const RECORD_BYTES = 10240;
/** Files of several names whose other names are still to come, some 300 bytes each; further ones become files of their own. */
const MAX_LINKED_FILES = 500_000;
/** Longer ones are none that readers of tar take, and of a tree so deep each level is held in memory. */
const MAX_PATH_BYTES = 64 * 1024;
/** A hole below this is written as zeros. */
const MIN_HOLE_BYTES = 4096;

export interface TarExport {
  /** As the manifest has it. */
  readonly root: string;
  readonly space: number;
  /** Below the top of the archive; empty: all of it. It becomes the top of the tar archive. */
  readonly path: ByteString;
  readonly output: TarOutput;
  readonly signal: AbortSignal;
  readonly onProgress: (bytesDone: number) => void;
  readonly warn: (message: string) => void;
}

export interface TarExported {
  readonly members: number;
  /** Of the archive, before it was compressed. */
  readonly bytes: number;
}

/** What the archive is put together from: the beginning of a member, bytes of its data that are known, and those of pieces. */
type Part = EncodedMember | Uint8Array | RestorePiece;

interface Work {
  readonly parts: readonly Part[];
  readonly pieces: readonly RestorePiece[];
  readonly length: number;
}

/** Sockets and files that could not be read are left out, with a warning. @throws `not-found`, `too-large`, `object-missing`, `object-damaged`, `target-failed`. */
export async function exportTar(
  pool: Threads,
  read: (space: number, id: ObjectId) => Promise<StoredObject>,
  request: TarExport,
): Promise<TarExported> {
  const { space, signal } = request;
  const get: GetObject = (id) => read(space, id);
  const counts = { members: 0, bytes: 0 };
  const write = async (bytes: Uint8Array): Promise<void> => {
    counts.bytes += bytes.length;
    await request.output.write(bytes);
  };
  const packer = new TarPacker(write);
  let bytesDone = 0;
  try {
    await inOrder(
      pool.size,
      workOf(walk(get, request, counts)),
      async ({ pieces, length }, thread): Promise<Uint8Array> => {
        signal.throwIfAborted();
        if (length === 0) return new Uint8Array(0);
        const target = undefined;
        const work: RestoreWork = { space, offset: 0, length, page: undefined, pieces, target, zeroLost: false };
        const { bytes } = await pool.call<RestoredRange>(thread, 'restore.range', work);
        return new Uint8Array(bytes as ArrayBuffer);
      },
      async ({ parts, length }, content) => {
        await putTogether(packer, parts, content);
        bytesDone += length;
        request.onProgress(bytesDone);
      },
    );
    await packer.finish();
    await write(Buffer.alloc((RECORD_BYTES - (counts.bytes % RECORD_BYTES)) % RECORD_BYTES));
  } catch (error) {
    packer.discard();
    throw error;
  }
  return counts;
}

/** Gives the packer what `content` has for the pieces among the parts. */
async function putTogether(packer: TarPacker, parts: readonly Part[], content: Uint8Array): Promise<void> {
  let at = 0;
  for (const part of parts) {
    if ('header' in part) await packer.begin(part);
    else if (part instanceof Uint8Array) await packer.data(part);
    else {
      await packer.data(content.subarray(at, at + part.length));
      at += part.length;
    }
  }
}

/** Parts in their order, as many as one call takes. */
async function* workOf(parts: AsyncGenerator<Part>): AsyncGenerator<Work> {
  let taken: Part[] = [];
  let pieces: RestorePiece[] = [];
  let length = 0;
  let bytes = 0;
  for await (const part of parts) {
    taken.push(part);
    bytes += 'header' in part ? BLOCK_BYTES + part.pax.length + part.map.length : part.length;
    if (!('header' in part) && !(part instanceof Uint8Array)) {
      pieces.push(part);
      length += part.length;
    }
    if (bytes < WORK_BYTES && pieces.length < WORK_PIECES) continue;
    yield { parts: taken, pieces, length };
    taken = [];
    pieces = [];
    length = bytes = 0;
  }
  if (taken.length > 0) yield { parts: taken, pieces, length };
}

interface Walk {
  readonly get: GetObject;
  readonly warn: (message: string) => void;
  readonly counts: { members: number };
  /** First names of files that have more, and how many are still to come. */
  readonly links: Map<string, { readonly path: ByteString; left: number }>;
}

async function* walk(get: GetObject, { root, path, warn }: TarExport, counts: Walk['counts']): AsyncGenerator<Part> {
  const top = await findPath(get, parseId(root) as ObjectId, path);
  const walk: Walk = { get, warn, counts, links: new Map() };
  if (fileType(top.stat) === FileType.directory) yield* directoryParts(walk, top, '.' as ByteString);
  else yield* fileParts(walk, top, `./${top.name}` as ByteString);
}

async function* directoryParts(walk: Walk, directory: DirectoryEntry, path: ByteString): AsyncGenerator<Part> {
  yield header(walk, { ...memberOf(walk, directory, path), path: `${path}/` as ByteString });
  if (directory.content === Content.unreadable)
    walk.warn(`${display(path)} could not be read when it was backed up: it is empty here`);
  if (directory.content !== Content.directory) return;
  for await (const entry of readEntries(walk.get, directoryOf(directory))) {
    const name = below(path, entry.name);
    if (name.length > MAX_PATH_BYTES)
      throw new HoldfastError(
        'too-large',
        `a path of the tree is longer than ${MAX_PATH_BYTES} bytes, which tar's readers take for none: export directories below it`,
      );
    if (fileType(entry.stat) === FileType.directory) yield* directoryParts(walk, entry, name);
    else yield* fileParts(walk, entry, name);
  }
}

async function* fileParts(walk: Walk, entry: DirectoryEntry, path: ByteString): AsyncGenerator<Part> {
  const type = fileType(entry.stat);
  if (!KNOWN_TYPES.has(type)) {
    walk.warn(
      `${display(path)} is left out: tar has no ${type === FileType.socket ? 'sockets' : 'files of this type'}`,
    );
    return;
  }
  if (entry.content === Content.unreadable) {
    walk.warn(`${display(path)} is left out: it could not be read when it was backed up`);
    return;
  }
  const member = memberOf(walk, entry, path);
  const first = firstName(walk, entry, path);
  if (first !== undefined) {
    yield header(walk, { ...member, type: 'link', linkTarget: first, sizeBytes: 0 });
    return;
  }
  if (type === FileType.symlink) {
    const linkTarget = Buffer.from(entry.contentBytes).toString('latin1') as ByteString;
    yield header(walk, { ...member, linkTarget });
    return;
  }
  const inline = inlineContent(entry);
  if (type !== FileType.file || inline !== undefined) {
    yield header(walk, member);
    if (inline !== undefined && inline.length > 0) yield inline;
    return;
  }
  yield* contentParts(walk, entry, member);
}

const KNOWN_TYPES = new Set<number>([
  FileType.file,
  FileType.symlink,
  FileType.fifo,
  FileType.characterDevice,
  FileType.blockDevice,
]);

/** Reads the pieces twice when there are holes: tar wants the map before the data. */
async function* contentParts(walk: Walk, entry: DirectoryEntry, member: NewMember): AsyncGenerator<Part> {
  const extents = await extentsOf(walk.get, entry);
  yield header(walk, { ...member, extents });
  let position = 0;
  let extent = 0;
  for await (const piece of filePieces(walk.get, entry)) {
    while (
      extents !== undefined &&
      (extents[extent]?.offset ?? Number.POSITIVE_INFINITY) + (extents[extent]?.length ?? 0) <= position
    )
      extent++;
    const isData = extents === undefined || (extents[extent]?.offset ?? Number.POSITIVE_INFINITY) <= position;
    if (isData && piece.id !== undefined) yield piece;
    else if (isData)
      for (let left = piece.length; left > 0; left -= WORK_BYTES)
        yield { length: Math.min(left, WORK_BYTES), id: undefined };
    position += piece.length;
  }
}

/** Where a file with holes has data; undefined for one without, or with more extents than tar's readers should have to take. */
async function extentsOf(get: GetObject, entry: DirectoryEntry): Promise<Extent[] | undefined> {
  const extents: { offset: number; length: number }[] = [];
  let position = 0;
  let hasHoles = false;
  for await (const { length, id } of filePieces(get, entry)) {
    const isHole = id === undefined && length >= MIN_HOLE_BYTES;
    hasHoles ||= isHole;
    const last = extents.at(-1);
    if (!isHole && last !== undefined && last.offset + last.length === position) last.length += length;
    else if (!isHole) extents.push({ offset: position, length });
    if (extents.length > MAX_EXTENTS) return undefined;
    position += length;
  }
  return hasHoles ? extents : undefined;
}

function header(walk: Walk, member: NewMember): EncodedMember {
  walk.counts.members++;
  return encodeMember(member);
}

/** The name under which a file of several names is in the archive already. */
function firstName({ links }: Walk, { stat }: DirectoryEntry, path: ByteString): ByteString | undefined {
  const { nlink, mode } = readStat(stat);
  if (nlink < 2) return undefined;
  // Inode numbers are those of one file system; that of another, mounted below, would differ in something else.
  const key = `${mode} ${sizeOf(stat)} ${stat.subarray(24, 32).toString()} ${inodeKey(stat)}`;
  const first = links.get(key);
  if (first === undefined) {
    if (links.size < MAX_LINKED_FILES) links.set(key, { path, left: nlink - 1 });
    return undefined;
  }
  if (--first.left === 0) links.delete(key);
  return first.path;
}

function memberOf(walk: Walk, entry: DirectoryEntry, path: ByteString): NewMember {
  const { mode, uid, gid, mtimeNs, major, minor } = readStat(entry.stat);
  const xattrs: Xattr[] = [];
  const acls = new Map<string, string>();
  for (const { name, value } of eachXattr(entry.xattrs)) {
    if (!name.startsWith('system.posix_acl_')) xattrs.push({ name, value });
    else {
      const text = aclText(value);
      if (text === undefined) walk.warn(`${display(path)}: its ACL is left out: it is not one`);
      else acls.set(name, text);
    }
  }
  return {
    path,
    type: fileType(entry.stat),
    linkTarget: '' as ByteString,
    mode: mode & 0o7777,
    uid,
    gid,
    mtimeNs,
    major,
    minor,
    xattrs,
    sizeBytes: sizeOf(entry.stat),
    extents: undefined,
    aclAccess: acls.get('system.posix_acl_access'),
    aclDefault: acls.get('system.posix_acl_default'),
  };
}
