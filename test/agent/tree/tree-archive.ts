// Tree archives for tests: from entries that a test writes by hand, or from a real directory by a plain walk of its own; objects in memory first,
// then in a real store.
import { closeSync, fstatSync, readSync } from 'node:fs';
import { DirectoryWriter } from '../../../src/agent/tree/directory-writer.ts';
import {
  errnoName,
  loadFileCalls,
  OPEN_DIRECTORY,
  OPEN_TO_READ,
  readScan,
} from '../../../src/agent/tree/file-calls.ts';
import type { GetObject } from '../../../src/agent/tree/read-tree.ts';
import { Content, type DirectoryEntry, encodePieces, LeafBuilder } from '../../../src/chunker/directory.ts';
import { encodeList, type ListEntry } from '../../../src/chunker/list.ts';
import { Kind, LIST_FANOUT, type ObjectId, type StoredObject } from '../../../src/chunker/object.ts';
import { IdHasher } from '../../../src/chunker/object-id.ts';
import { FileType, fileType, sizeOf, writeStat } from '../../../src/chunker/stat-block.ts';
import type { Archive } from '../../../src/schema/manifest.ts';
import { type ByteString, fromText } from '../../../src/util/byte-string.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import type { OpenStore } from '../../support/store.ts';

export const calls = loadFileCalls();
const NOTHING = new Uint8Array(0);
const PIECE_BYTES = 64 * 1024;
const MAX_INLINE = 512;
const MAX_PIECES = 64;

/** What a test says of an entry; the rest has defaults. */
export interface Wanted {
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly nlink?: number;
  readonly sizeBytes?: number;
  readonly mtimeNs?: bigint;
  readonly inode?: bigint;
  readonly major?: number;
  readonly minor?: number;
  readonly attributes?: number;
}

export const OWN_UID = process.getuid?.() ?? 0;
export const OWN_GID = process.getgid?.() ?? 0;

export function statOf(wanted: Wanted): Buffer {
  const mtimeNs = wanted.mtimeNs ?? 1_600_000_000_123_456_789n;
  return writeStat({
    ...{ uid: OWN_UID, gid: OWN_GID, nlink: 1, sizeBytes: 0, inode: 1n, major: 0, minor: 0, attributes: 0 },
    ...wanted,
    mtimeNs,
    ctimeNs: mtimeNs,
  });
}

/** Objects in memory, children before parents. */
export class TreeObjects {
  readonly objects = new Map<string, StoredObject>();
  readonly #hasher = new IdHasher();
  entries = 0;
  bytes = 0;

  put(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    const id = Buffer.from(this.#hasher.id(kind, refs, payload)) as ObjectId;
    this.objects.set(id.toString('hex'), { kind, refs: Buffer.from(refs), payload: Buffer.from(payload) });
    return id;
  }

  get: GetObject = async (id) => {
    const object = this.objects.get(id.toString('hex'));
    if (object === undefined) throw new HoldfastError('object-missing', `object ${id.toString('hex')} is missing`);
    return object;
  };

  /** Takes objects away. */
  lose(isLost: (object: StoredObject) => boolean): void {
    for (const [id, object] of this.objects) if (isLost(object)) this.objects.delete(id);
  }

  entry(name: string, content: number, stat: Uint8Array, more: Partial<DirectoryEntry> = {}): DirectoryEntry {
    const none = { marks: 0, errno: 0, xattrs: NOTHING, contentBytes: NOTHING, refs: NOTHING };
    return { name: name as ByteString, content, stat, ...none, ...more };
  }

  /** A file of these parts; a number is a hole of so many bytes. */
  file(name: string, parts: readonly (Uint8Array | string | number)[], wanted: Partial<Wanted> = {}): DirectoryEntry {
    const pieces = parts.flatMap((part): ListEntry[] => {
      if (typeof part === 'number') return [{ length: part, id: undefined }];
      const bytes = Buffer.from(part as Uint8Array);
      const all: ListEntry[] = [];
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const piece = bytes.subarray(at, at + PIECE_BYTES);
        all.push({ length: piece.length, id: this.put(Kind.data, NOTHING, piece) });
      }
      return all;
    });
    const sizeBytes = pieces.reduce((sum, { length }) => sum + length, 0);
    const stat = statOf({ mode: FileType.file | 0o644, ...wanted, sizeBytes });
    const first = parts[0];
    if (sizeBytes === 0) return this.entry(name, Content.none, stat);
    if (parts.length === 1 && typeof first !== 'number' && sizeBytes <= MAX_INLINE)
      return this.entry(name, Content.inline, stat, { contentBytes: Buffer.from(first as Uint8Array) });
    if (pieces.length > MAX_PIECES)
      return this.entry(name, Content.list, stat, { refs: this.#list(pieces, Kind.data, 1) });
    const refs = Buffer.concat(pieces.flatMap(({ id }) => (id === undefined ? [] : [id])));
    const contentBytes = encodePieces(pieces.map(({ length, id }) => ({ length, isHole: id === undefined })));
    return this.entry(name, Content.pieces, stat, { contentBytes, refs });
  }

  directory(name: string, entries: readonly DirectoryEntry[], wanted: Partial<Wanted> = {}): DirectoryEntry {
    const writer = new DirectoryWriter((kind, refs, payload) => this.put(kind, refs, payload));
    for (const entry of [...entries].sort((a, b) => (a.name < b.name ? -1 : 1))) writer.add(entry);
    const stat = statOf({ mode: FileType.directory | 0o755, ...wanted });
    return this.entry(name, Content.directory, stat, { refs: writer.finish() });
  }

  link(name: string, target: string, wanted: Partial<Wanted> = {}): DirectoryEntry {
    const stat = statOf({ mode: FileType.symlink | 0o777, ...wanted });
    return this.entry(name, Content.inline, stat, { contentBytes: Buffer.from(target, 'latin1') });
  }

  node(name: string, type: number, wanted: Partial<Wanted> = {}): DirectoryEntry {
    return this.entry(name, Content.none, statOf({ mode: type | 0o644, ...wanted }));
  }

  /** The root object above a top directory. */
  root(top: DirectoryEntry): ObjectId {
    const leaf = new LeafBuilder();
    leaf.add({ ...top, name: '' as ByteString });
    const { refs, payload } = leaf.finish();
    return this.put(Kind.directory, refs, payload);
  }

  /** A real directory, as it is. Plain and slow. */
  scan(path: string): DirectoryEntry {
    const fd = calls.open(-1, fromText(path), OPEN_DIRECTORY, 0);
    if (fd < 0) throw new Error(`${path}: ${errnoName(fd)}`);
    const [top] = [...readScan(calls.scan(fd, Buffer.from([1, 46])) as Buffer)];
    try {
      return this.#scanned(fd, '', Buffer.from(top!.stat), Buffer.from(top!.xattrs));
    } finally {
      closeSync(fd);
    }
  }

  #scanned(fd: number, name: string, stat: Buffer, xattrs: Buffer): DirectoryEntry {
    const writer = new DirectoryWriter((kind, refs, payload) => this.put(kind, refs, payload));
    for (const found of readScan(calls.scan(fd, calls.listNames(fd) as Buffer) as Buffer)) {
      const { xattrs: attributes, stat: block } = found;
      const type = fileType(block);
      this.entries++;
      this.bytes += sizeOf(block);
      if (type === FileType.symlink)
        writer.add(this.entry(found.name, Content.inline, block, { xattrs: attributes, contentBytes: found.target }));
      else if (type === FileType.directory) {
        const child = calls.open(fd, found.name, OPEN_DIRECTORY, 0);
        writer.add(this.#scanned(child, found.name, Buffer.from(block), Buffer.from(attributes)));
        closeSync(child);
      } else if (type === FileType.file)
        writer.add({ ...this.file(found.name, this.#read(fd, found.name)), stat: block, xattrs: attributes });
      else writer.add(this.entry(found.name, Content.none, block, { xattrs: attributes }));
    }
    return this.entry(name, Content.directory, stat, { xattrs, refs: writer.finish() });
  }

  #read(directory: number, name: ByteString): (Uint8Array | number)[] {
    const fd = calls.open(directory, name, OPEN_TO_READ, 0);
    const { size } = fstatSync(fd);
    const parts: (Uint8Array | number)[] = [];
    for (let at = 0; at < size; ) {
      const data = calls.seek(fd, at, false);
      const start = data < 0 ? size : data;
      if (start > at) parts.push(start - at);
      const end = start >= size ? size : calls.seek(fd, start, true);
      for (at = start; at < end; ) {
        const bytes = Buffer.alloc(Math.min(end - at, PIECE_BYTES));
        readSync(fd, bytes, 0, bytes.length, at);
        parts.push(bytes);
        at += bytes.length;
      }
    }
    closeSync(fd);
    return parts;
  }

  #list(entries: readonly ListEntry[], childKind: number, height: number): ObjectId {
    const lists: ListEntry[] = [];
    for (let at = 0; at < entries.length; at += LIST_FANOUT) {
      const part = entries.slice(at, at + LIST_FANOUT);
      const { refs, payload } = encodeList({ childKind, height, entries: part });
      lists.push({ length: part.reduce((sum, { length }) => sum + length, 0), id: this.put(Kind.list, refs, payload) });
    }
    return lists.length === 1 ? (lists[0]!.id as ObjectId) : this.#list(lists, Kind.list, height + 1);
  }
}

export function archiveOf(objects: TreeObjects, root: ObjectId): Archive {
  const { entries, bytes } = objects;
  return { name: 'root.tree', kind: 'tree', sizeBytes: bytes, root: root.toString('hex'), entries };
}

/** Stores and commits all objects as one snapshot with an archive `root.tree`. */
export async function commitTree(
  open: OpenStore,
  objects: TreeObjects,
  root: ObjectId,
  group = 'host/web',
  owner?: string,
): Promise<Archive> {
  const session = await open.session(group, owner);
  for (const { kind, refs, payload } of objects.objects.values())
    await open.pool.call(0, 'store.put', { session: session.id, kind, refs, payload });
  const archive = archiveOf(objects, root);
  const statistics = {
    ...{ bytesLogical: archive.sizeBytes, bytesRead: 0, bytesSampled: 0, bytesNew: 0 },
    ...{ objectsNew: 0, objectsReused: 0, durationMs: 0 },
  };
  const clientTime = '2026-11-21T00:00:00.000Z';
  const client = { backup: group, clientTime, archives: [archive], base: null, key: null, statistics };
  await session.commit(client, undefined, new AbortController().signal);
  return archive;
}
