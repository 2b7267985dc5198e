// One list or page of a served archive, as a table of where its children begin and end; and the bounded cache of them.
import { parseList } from '../../chunker/list.ts';
import { ID_BYTES, Kind, type ObjectId, type StoredObject } from '../../chunker/object.ts';
import { parsePage } from '../../chunker/page.ts';
import { HoldfastError } from '../../util/errors.ts';

export interface DiskNode {
  /** What the children are: data, pages or lists. */
  readonly childKind: number;
  /** Where each child ends, from the start of this node. */
  readonly ends: Float64Array;
  /** The id of each child; undefined for a hole. */
  readonly ids: readonly (ObjectId | undefined)[];
}

/** Bytes of memory that a child is counted with: its end, its id with the object around it. */
const CHILD_BYTES = 160;

/** @throws `object-damaged` when the object is not one of `kind` that describes `lengthBytes`. */
export function parseNode(object: StoredObject, kind: number, lengthBytes: number): DiskNode {
  if (object.kind !== kind)
    throw malformed(`an object of kind ${object.kind} stands where one of kind ${kind} should be`);
  const node = kind === Kind.page ? pageNode(object) : listNode(object);
  const endBytes = node.ends.at(-1) ?? 0;
  if (endBytes !== lengthBytes) throw malformed(`it describes ${endBytes} bytes where ${lengthBytes} were expected`);
  return node;
}

/** The child that holds the byte at `offset`, which lies within the node. */
export function childAt(node: DiskNode, offset: number): number {
  let low = 0;
  let high = node.ends.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((node.ends[middle] as number) > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

function pageNode({ payload, refs }: StoredObject): DiskNode {
  const pieces = parsePage(payload, refs.length / ID_BYTES);
  const idAt = (ref: number): ObjectId => Buffer.from(refs.subarray(ref * ID_BYTES, (ref + 1) * ID_BYTES)) as ObjectId;
  return {
    childKind: Kind.data,
    ends: Float64Array.from(pieces, (piece) => piece.offset + piece.length),
    ids: pieces.map((piece) => (piece.ref < 0 ? undefined : idAt(piece.ref))),
  };
}

function listNode({ payload, refs }: StoredObject): DiskNode {
  const { childKind, entries } = parseList(payload, refs);
  let end = 0;
  const ends = Float64Array.from(entries, (entry) => {
    end += entry.length;
    return end;
  });
  return { childKind, ends, ids: entries.map((entry) => entry.id) };
}

function malformed(why: string): HoldfastError {
  return new HoldfastError('object-damaged', `a page or list object is malformed: ${why}`);
}

/** The nodes used last, within a number of bytes. Who asks for a node that is being read waits for the same reading. */
export class NodeCache {
  readonly #maxBytes: number;
  readonly #nodes = new Map<string, DiskNode>();
  readonly #reading = new Map<string, Promise<DiskNode>>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Without waiting; undefined when it has to be read. */
  find(key: string): DiskNode | undefined {
    const node = this.#nodes.get(key);
    if (node === undefined) return undefined;
    // Least recently used first.
    this.#nodes.delete(key);
    this.#nodes.set(key, node);
    return node;
  }

  async get(key: string, read: () => Promise<DiskNode>): Promise<DiskNode> {
    const known = this.find(key);
    if (known !== undefined) return known;
    const reading = this.#reading.get(key) ?? this.#read(key, read);
    return await reading;
  }

  #read(key: string, read: () => Promise<DiskNode>): Promise<DiskNode> {
    const reading = read()
      .then((node) => {
        this.#keep(key, node);
        return node;
      })
      .finally(() => this.#reading.delete(key));
    this.#reading.set(key, reading);
    return reading;
  }

  #keep(key: string, node: DiskNode): void {
    this.#nodes.set(key, node);
    this.#bytes += node.ids.length * CHILD_BYTES;
    for (const [oldest, { ids }] of this.#nodes) {
      if (this.#bytes <= this.#maxBytes || oldest === key) break;
      this.#nodes.delete(oldest);
      this.#bytes -= ids.length * CHILD_BYTES;
    }
  }
}
