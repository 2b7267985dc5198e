// File trees in memory: objects by id, made with the writers of the real thing, and counted when they are read.

import { DirectoryWriter } from '../../src/agent/tree/directory-writer.ts';
import { Content, type DirectoryEntry, encodePieces, encodeXattrs, LeafBuilder } from '../../src/chunker/directory.ts';
import { ListBuilder } from '../../src/chunker/list.ts';
import { Kind, type ObjectId, type StoredObject } from '../../src/chunker/object.ts';
import { IdHasher } from '../../src/chunker/object-id.ts';
import { FileType, type StatFields, writeStat } from '../../src/chunker/stat-block.ts';
import { parseTreePath } from '../../src/cli/tree-path.ts';
import type { DamageSource } from '../../src/datastore/damage.ts';
import { type ByteString, fromText } from '../../src/util/byte-string.ts';
import { HoldfastError } from '../../src/util/errors.ts';

const EMPTY = new Uint8Array(0);
const NIGHT_NS = 1_790_000_000_000_000_000n;

/** What one name is; `children` makes it a directory. */
export interface Node {
  readonly children?: Tree;
  /** The same, made before. */
  readonly directory?: ObjectId;
  /** A link's target, or a file's content inside its entry. */
  readonly inline?: string | Uint8Array;
  /** A file's pieces; a number is a hole of that many bytes. */
  readonly pieces?: readonly (string | Uint8Array | number)[];
  /** The same below a list. */
  readonly listed?: readonly (string | Uint8Array | number)[];
  readonly errno?: number;
  readonly marks?: number;
  readonly stat?: Partial<StatFields>;
  readonly xattrs?: Readonly<Record<string, string>>;
}

/** Names to nodes; a text is a file with that content. \xHH in a name is a byte. */
export interface Tree {
  readonly [name: string]: string | Node;
}

export class TreeMemory implements DamageSource {
  readonly objects = new Map<string, StoredObject>();
  readonly lost = new Set<string>();
  /** Ids in the order in which they were asked for. */
  readonly reads: string[] = [];
  readonly #hasher = new IdHasher();

  readonly isReadable = (id: ObjectId): boolean => !this.lost.has(id.toString('hex'));

  readonly read = (id: ObjectId): StoredObject => {
    const text = id.toString('hex');
    this.reads.push(text);
    const object = this.objects.get(text);
    if (object === undefined || this.lost.has(text)) throw new HoldfastError('object-missing', `${text} is missing`);
    return object;
  };

  readonly get = async (id: ObjectId): Promise<StoredObject> => this.read(id);

  readonly put = (kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId => {
    const id = Buffer.from(this.#hasher.id(kind, refs, payload)) as ObjectId;
    this.objects.set(id.toString('hex'), { kind, refs: Buffer.from(refs), payload: Buffer.from(payload) });
    return id;
  };

  /** The root object above a top directory. */
  async root(tree: Tree, stat: Partial<StatFields> = {}): Promise<ObjectId> {
    const leaf = new LeafBuilder();
    leaf.add(await this.#entry('' as ByteString, { children: tree, stat }));
    const { refs, payload } = leaf.finish();
    return this.put(Kind.directory, refs, payload);
  }

  /** Single directories, each in the one before; a file `end` in the last. */
  async chain(depth: number, end: string): Promise<ObjectId> {
    let directory = await this.directory({ end });
    for (let n = 1; n < depth; n++) directory = await this.directory({ d: { directory } });
    return await this.root({ d: { directory } });
  }

  async directory(tree: Tree): Promise<ObjectId> {
    const writer = new DirectoryWriter(this.put);
    const names = Object.keys(tree).map((text) => [parseTreePath(text), tree[text]] as const);
    names.sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [name, node] of names)
      writer.add(await this.#entry(name, typeof node === 'string' ? { inline: node } : (node as Node)));
    return writer.finish();
  }

  /** Of one entry of a directory object with a single leaf. */
  async #entry(name: ByteString, node: Node): Promise<DirectoryEntry> {
    const base = { name, marks: node.marks ?? 0, errno: node.errno ?? 0, contentBytes: EMPTY, refs: EMPTY };
    const xattrs = encodeXattrs(
      Object.entries(node.xattrs ?? {}).map(([key, value]) => ({ name: fromText(key), value: Buffer.from(value) })),
    );
    const pieces = (node.pieces ?? node.listed ?? []).map((piece) =>
      typeof piece === 'string' ? Buffer.from(piece) : piece,
    );
    const inline = Buffer.from(node.inline ?? '');
    const bytes = pieces.reduce<number>((sum, piece) => sum + (typeof piece === 'number' ? piece : piece.length), 0);
    const isDirectory = node.children !== undefined || node.directory !== undefined;
    const type = isDirectory ? FileType.directory : FileType.file;
    const mode = node.stat?.mode ?? type | (type === FileType.directory ? 0o755 : 0o644);
    const isFile = (mode & 0o170000) === FileType.file;
    const stat = statOf({ sizeBytes: isFile ? bytes + inline.length : 0, ...node.stat, mode });
    const entry = { ...base, stat, xattrs };
    if (node.errno !== undefined) return { ...entry, content: Content.unreadable };
    if (isDirectory)
      return {
        ...entry,
        content: Content.directory,
        refs: node.directory ?? (await this.directory(node.children ?? {})),
      };
    if (pieces.length === 0)
      return { ...entry, content: inline.length === 0 ? Content.none : Content.inline, contentBytes: inline };
    const made = pieces.map((piece) =>
      typeof piece === 'number'
        ? { length: piece, id: undefined, isHole: true }
        : { length: piece.length, id: this.put(Kind.data, EMPTY, piece), isHole: false },
    );
    if (node.listed !== undefined) {
      const list = new ListBuilder(Kind.data, async (kind, refs, payload) => this.put(kind, refs, payload));
      for (const { length, id } of made) await list.add({ length, id });
      return { ...entry, content: Content.list, refs: await list.finish() };
    }
    const refs = Buffer.concat(made.flatMap(({ id }) => (id === undefined ? [] : [id])));
    return { ...entry, content: Content.pieces, contentBytes: encodePieces(made), refs };
  }

  /** Loses the data object with this content. */
  loseData(content: string | Uint8Array): void {
    this.lost.add(this.#hasher.id(Kind.data, EMPTY, Buffer.from(content)).toString('hex'));
  }

  lose(id: Uint8Array): void {
    this.lost.add(Buffer.from(id).toString('hex'));
  }
}

export function statOf(fields: Partial<StatFields>): Buffer {
  return writeStat({
    mode: FileType.file | 0o644,
    uid: 0,
    gid: 0,
    nlink: 1,
    sizeBytes: 0,
    mtimeNs: NIGHT_NS,
    ctimeNs: NIGHT_NS,
    inode: 1n,
    major: 0,
    minor: 0,
    attributes: 0,
    ...fields,
  });
}
