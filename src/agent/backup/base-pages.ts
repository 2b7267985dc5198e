// Walks the pages of an image that a base snapshot has, in order, reading one list at a time.
import { parseList } from '../../chunker/list.ts';
import { Kind, type ObjectId, type StoredObject } from '../../chunker/object.ts';

export interface BasePage {
  readonly length: number;
  /** Undefined: the page is zeros. */
  readonly id: ObjectId | undefined;
}

/** Yields every page of the image whose root is `root`. */
export async function* basePages(
  root: ObjectId,
  get: (id: ObjectId) => Promise<StoredObject>,
): AsyncGenerator<BasePage> {
  const { payload, refs } = await get(root);
  const list = parseList(payload, refs);
  for (const entry of list.entries) {
    if (list.childKind === Kind.list && entry.id !== undefined) yield* basePages(entry.id, get);
    else yield entry;
  }
}
