// Which refs of an object are data: of those only their own bytes can be lost, while behind anything else a whole subtree is unknown (rule G3).
import { Content, parseDirectory } from '../../chunker/directory.ts';
import { parseList } from '../../chunker/list.ts';
import { ID_BYTES, Kind } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { ObjectRefs } from '../object-source.ts';

/**
 * Tells of each place among the refs of an object whether data is there. Of a kind that this version does not know, and of a payload without its
 * key, nothing is assumed.
 */
export function dataRefs({ kind, refs, payload }: ObjectRefs): (place: number) => boolean {
  if (kind === Kind.page) return () => true;
  if (payload === undefined) return () => false;
  try {
    if (kind === Kind.list && parseList(payload, refs).childKind === Kind.data) return () => true;
    if (kind === Kind.directory) return dataRefsOfDirectory(payload, refs);
  } catch (error) {
    // Not what its kind says, or the root of a tree, which names a directory.
    if (!(error instanceof HoldfastError)) throw error;
  }
  return () => false;
}

/** Of what entries name, pieces are data; lists and directories are not, nor are the parts of a large directory. */
function dataRefsOfDirectory(payload: Uint8Array, refs: Uint8Array): (place: number) => boolean {
  const areData = new Uint8Array(refs.length / ID_BYTES);
  let first = 0;
  for (const entry of parseDirectory(payload, refs).entries ?? []) {
    const end = first + entry.refs.length / ID_BYTES;
    if (entry.content === Content.pieces) areData.fill(1, first, end);
    first = end;
  }
  return (place) => areData[place] === 1;
}
