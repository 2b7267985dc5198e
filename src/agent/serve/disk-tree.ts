// Finds what lies at an offset of an archive: walks from its root through lists and pages, reading only those on the way.
import { Kind, type ObjectId, parseId, type StoredObject } from '../../chunker/object.ts';
import type { Archive } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import { childAt, type DiskNode, type NodeCache, parseNode } from './disk-node.ts';

/** Reads and checks a list or a page. */
export type ReadNode = (space: number, id: ObjectId) => Promise<StoredObject>;

/** A range of the disk that one node describes piece by piece, or a hole as a whole. */
export interface Leaf {
  readonly start: number;
  readonly end: number;
  /** Undefined for a hole. */
  readonly node: DiskNode | undefined;
}

/** Lists of 1,024 entries above pages of 16 MiB: five describe more than a disk may have. */
const MAX_DEPTH = 8;

export class DiskTree {
  readonly #archive: Archive;
  readonly #space: number;
  readonly #cache: NodeCache;
  readonly #read: ReadNode;
  readonly #root: ObjectId;

  constructor(archive: Archive, space: number, cache: NodeCache, read: ReadNode) {
    this.#archive = archive;
    this.#space = space;
    this.#cache = cache;
    this.#read = read;
    this.#root = parseId(archive.root) as ObjectId;
  }

  /** The leaf with the byte at `offset`, which lies within the disk. @throws `object-missing`, `object-damaged`. */
  async leafAt(offset: number): Promise<Leaf> {
    let [start, end, kind, id] = [0, this.#archive.sizeBytes, Kind.list as number, this.#root];
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      const node = await this.#node(id, kind, end - start);
      if (node.childKind === Kind.data) return { start, end, node };
      const child = childAt(node, offset - start);
      end = start + (node.ends[child] as number);
      start += child === 0 ? 0 : (node.ends[child - 1] as number);
      const next = node.ids[child];
      if (next === undefined) return { start, end, node: undefined };
      [id, kind] = [next, node.childKind];
    }
    throw new HoldfastError(
      'object-damaged',
      `more than ${MAX_DEPTH} lists lie above each other in ${this.#archive.name}`,
    );
  }

  async #node(id: ObjectId, kind: number, lengthBytes: number): Promise<DiskNode> {
    const key = `${this.#space}:${kind}:${lengthBytes}:${id.toString('latin1')}`;
    return (
      this.#cache.find(key) ??
      (await this.#cache.get(key, async () => parseNode(await this.#read(this.#space, id), kind, lengthBytes)))
    );
  }
}
