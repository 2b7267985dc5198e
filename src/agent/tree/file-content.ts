// Where the bytes of a regular file are: in its entry, in pieces that the entry names, or in pieces below a list.
import { Content, type DirectoryEntry, parsePieces } from '../../chunker/directory.ts';
import { parseList } from '../../chunker/list.ts';
import { ID_BYTES, Kind, MAX_OBJECT_BYTES, type ObjectId } from '../../chunker/object.ts';
import { sizeOf } from '../../chunker/stat-block.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { RestorePiece } from '../restore/piece-restorer.ts';
import type { GetObject } from './read-tree.ts';

/** Most lists above each other: 1,024^5 pieces are more than any file has. */
const MAX_LIST_HEIGHT = 5;

/** The bytes of a small file, or a link's target, without asking for any object; undefined when they are not in the entry. */
export function inlineContent(entry: DirectoryEntry): Uint8Array | undefined {
  return entry.content === Content.inline || entry.content === Content.none ? entry.contentBytes : undefined;
}

/** The pieces of an entry that names them itself; undefined for those below a list. */
export function directPieces(entry: DirectoryEntry): RestorePiece[] | undefined {
  if (entry.content !== Content.pieces) return undefined;
  let ref = 0;
  return parsePieces(entry.contentBytes).map(({ length, isHole }) => ({
    length,
    id: isHole ? undefined : entry.refs.subarray(ref * ID_BYTES, ++ref * ID_BYTES),
  }));
}

/**
 * The pieces of a file in order, holes among them; they add up to the file's size. Holds one list per level.
 * @throws `object-missing`, `object-damaged`.
 */
export async function* filePieces(get: GetObject, entry: DirectoryEntry): AsyncGenerator<RestorePiece> {
  const direct = directPieces(entry);
  if (direct !== undefined) for (const piece of direct) yield checked(piece);
  if (entry.content !== Content.list) return;
  const size = sizeOf(entry.stat);
  let bytes = 0;
  for await (const piece of listPieces(get, Buffer.from(entry.refs) as ObjectId, undefined)) {
    bytes += piece.length;
    // Before it is used: a tar header has told the size.
    if (bytes > size) break;
    yield checked(piece);
  }
  if (bytes !== size) throw malformed('its pieces are not as long as the file');
}

/** Whoever reads a piece takes memory for it. */
function checked(piece: RestorePiece): RestorePiece {
  if (piece.id !== undefined && piece.length > MAX_OBJECT_BYTES) throw malformed('a piece is longer than any object');
  return piece;
}

async function* listPieces(
  get: GetObject,
  id: ObjectId,
  expectedHeight: number | undefined,
): AsyncGenerator<RestorePiece> {
  const { kind, payload, refs } = await get(id);
  if (kind !== Kind.list) throw malformed('it is another object');
  const list = parseList(payload, refs);
  if (list.height > MAX_LIST_HEIGHT || (expectedHeight !== undefined && list.height !== expectedHeight))
    throw malformed('its height is impossible');
  if (list.childKind !== Kind.data && list.childKind !== Kind.list) throw malformed('it holds no data');
  for (const piece of list.entries) {
    if (list.childKind === Kind.data || piece.id === undefined) yield piece;
    else yield* listPieces(get, piece.id, list.height - 1);
  }
}

function malformed(why: string): HoldfastError {
  return new HoldfastError('object-damaged', `the pieces of a file are malformed: ${why}`);
}
