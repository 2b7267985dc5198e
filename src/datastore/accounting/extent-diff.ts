// What differs between two archives, as extents in order of their offsets. Equal ids at equal places are equal bytes and are not looked
// below, so that the cost grows with what differs. Holds one list or page a level of each tree, whatever the size of the archives.
import { parseList } from '../../chunker/list.ts';
import { copyId, ID_BYTES, Kind, type ObjectId, PAGE_BYTES, type StoredObject } from '../../chunker/object.ts';
import { parsePage } from '../../chunker/page.ts';
import type { Archive } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';

/** `zeroed`: a hole now, data before. `added` and `removed`: beyond the end of the shorter one. */
export type ExtentKind = 'changed' | 'zeroed' | 'added' | 'removed';

export interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly kind: ExtentKind;
}

/** Also a promise: objects may be at a server. */
export type ReadObject = (id: ObjectId) => StoredObject | Promise<StoredObject>;

/**
 * Extents in which `after` differs from `before`, neighbours of one kind joined. Exact to the chunk: bytes outside are equal, a byte
 * inside may be equal too.
 * @throws `object-missing`, `object-damaged` when metadata of a part that differs cannot be read.
 */
export async function* diffArchives(before: Archive, after: Archive, read: ReadObject): AsyncGenerator<Extent> {
  let last: Extent | undefined;
  for await (const extent of differences(new Tree(before, read), new Tree(after, read))) {
    if (last !== undefined && last.kind === extent.kind && last.offset + last.length === extent.offset) {
      last = { ...last, length: last.length + extent.length };
      continue;
    }
    if (last !== undefined) yield last;
    last = extent;
  }
  if (last !== undefined) yield last;
}

/** The size of the pages that an archive is cut into, null for one that has none. */
export function pageBytesOf({ kind }: Archive): number | null {
  return kind === 'image' ? PAGE_BYTES : null;
}

async function* differences(before: Tree, after: Tree): AsyncGenerator<Extent> {
  let offset = 0;
  for (;;) {
    const [a, b] = [before.head, after.head];
    if (a === undefined || b === undefined) break;
    if (isSame(a, b)) {
      before.take(a.length);
      after.take(b.length);
      offset += a.length;
    } else if (a.height > 0 || b.height > 0) {
      // The higher one, for what it holds may then meet its equal.
      const height = Math.max(a.height, b.height);
      if (a.height === height) await before.open();
      if (b.height === height) await after.open();
    } else {
      const length = Math.min(a.length, b.length);
      if (a.id !== undefined || b.id !== undefined)
        yield { offset, length, kind: b.id === undefined ? 'zeroed' : 'changed' };
      before.take(length);
      after.take(length);
      offset += length;
    }
  }
  const [old, fresh] = [before.restBytes, after.restBytes];
  if (old > 0) yield { offset, length: old, kind: 'removed' };
  if (fresh > 0) yield { offset, length: fresh, kind: 'added' };
}

/** What is next in a tree: a subtree, a chunk or a hole. */
interface Node {
  readonly length: number;
  /** Undefined for a hole. */
  readonly id: ObjectId | undefined;
  /** 0 for a chunk or a hole, 1 for a page, above that lists. */
  readonly height: number;
}

/** With equal lengths also the rests of two chunks of one id are equal: both are its end. */
function isSame(a: Node, b: Node): boolean {
  if (a.length !== b.length || a.id === undefined || b.id === undefined) return false;
  return a.id.equals(b.id);
}

/** One archive from its beginning to its end: the next node, opened further as it is needed. */
class Tree {
  readonly #read: ReadObject;
  /** Per level what is left of an opened list or page, the lowest level last. */
  readonly #levels: { readonly nodes: readonly Node[]; next: number }[];
  #rest: Node | undefined;
  #restBytes: number;

  constructor(archive: Archive, read: ReadObject) {
    this.#read = read;
    this.#restBytes = archive.sizeBytes;
    const id = Buffer.from(archive.root, 'hex') as ObjectId;
    // The height of a tree stands in its root: it counts as higher than anything until it is opened.
    const height = archive.kind === 'blob' ? 0 : Number.MAX_SAFE_INTEGER;
    const nodes = archive.sizeBytes === 0 ? [] : [{ length: archive.sizeBytes, id, height }];
    this.#levels = [{ nodes, next: 0 }];
  }

  get restBytes(): number {
    return this.#restBytes;
  }

  get head(): Node | undefined {
    if (this.#rest !== undefined) return this.#rest;
    for (let level = this.#levels.at(-1); level !== undefined; level = this.#levels.at(-1)) {
      if (level.next < level.nodes.length) return level.nodes[level.next];
      this.#levels.pop();
    }
    return undefined;
  }

  /** Puts in place of the head, a list or page, what it holds. */
  async open(): Promise<void> {
    const { id, length } = this.head as Node;
    this.#step();
    const nodes = childrenOf(await this.#read(id as ObjectId));
    const held = nodes.reduce((sum, node) => sum + node.length, 0);
    if (held !== length)
      throw new HoldfastError('object-damaged', `a list or page holds ${held} bytes where ${length} are expected`);
    this.#levels.push({ nodes, next: 0 });
  }

  /** Goes on by some bytes of the head, or all of it. */
  take(bytes: number): void {
    const node = this.head as Node;
    this.#restBytes -= bytes;
    if (bytes < node.length) this.#rest = { ...node, length: node.length - bytes };
    else this.#step();
  }

  #step(): void {
    this.#rest = undefined;
    (this.#levels.at(-1) as { next: number }).next++;
  }
}

function childrenOf({ kind, refs, payload }: StoredObject): Node[] {
  if (kind === Kind.page)
    return parsePage(payload, refs.length / ID_BYTES).map(({ length, ref }) => ({
      length,
      id: ref < 0 ? undefined : copyId(refs, ref * ID_BYTES),
      height: 0,
    }));
  if (kind !== Kind.list)
    throw new HoldfastError('object-damaged', `an object of kind ${kind} stands where a page or list should be`);
  const { childKind, height, entries } = parseList(payload, refs);
  // Of a stream the lowest lists hold chunks, of an image pages.
  const childHeight = childKind === Kind.data ? 0 : height;
  return entries.map(({ length, id }) => ({ length, id, height: id === undefined ? 0 : childHeight }));
}
