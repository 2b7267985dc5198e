// Collects the pieces of one file: a few are named by its entry, more go into lists as they come, so that memory does not grow with the file.
import { Content, encodePieces, type FilePiece } from '../../chunker/directory.ts';
import { ListBuilder, type PutObject } from '../../chunker/list.ts';
import { Kind, type ObjectId } from '../../chunker/object.ts';
import { MAX_PIECE_LENGTH, MAX_PIECES } from './content-limits.ts';

/** The content of an entry, as a directory object has it. */
export interface EntryContent {
  /** One of `Content`. */
  readonly content: number;
  readonly contentBytes: Uint8Array;
  readonly refs: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** Of a file without bytes, and of all that is neither file nor link. */
export const NO_CONTENT: EntryContent = { content: Content.none, contentBytes: NOTHING, refs: NOTHING };

/** Bytes inside the entry; takes a copy. */
export function inlineBytes(bytes: Uint8Array): EntryContent {
  return { content: Content.inline, contentBytes: Buffer.from(bytes), refs: NOTHING };
}

export class ContentBuilder {
  readonly #put: PutObject;
  #pieces: FilePiece[] = [];
  #ids: Buffer[] = [];
  #lists: ListBuilder | undefined;

  constructor(put: PutObject) {
    this.#put = put;
  }

  /** Adds a piece of data; takes a copy of the id. A promise when a list took it. */
  addData(length: number, id: Uint8Array): Promise<void> | undefined {
    if (this.#lists !== undefined) return this.#lists.add({ length, id: Buffer.from(id) as ObjectId });
    this.#pieces.push({ length, isHole: false });
    this.#ids.push(Buffer.from(id));
    return this.#pieces.length > MAX_PIECES ? this.#intoLists() : undefined;
  }

  /** The same for a file that is known to have few pieces. */
  addSmall(length: number, id: Uint8Array): void {
    this.#pieces.push({ length, isHole: false });
    this.#ids.push(Buffer.from(id));
  }

  addHole(length: number): Promise<void> | undefined {
    if (this.#lists !== undefined) return this.#lists.add({ length, id: undefined });
    this.#pieces.push({ length, isHole: true });
    return this.#pieces.length > MAX_PIECES || length > MAX_PIECE_LENGTH ? this.#intoLists() : undefined;
  }

  /** Stores what is unfinished. */
  async finish(): Promise<EntryContent> {
    if (this.#lists !== undefined)
      return { content: Content.list, contentBytes: NOTHING, refs: await this.#lists.finish() };
    return this.finishPieces();
  }

  /** The same for a file to which only `addSmall` added. */
  finishPieces(): EntryContent {
    if (this.#pieces.length === 0) return NO_CONTENT;
    return {
      content: Content.pieces,
      contentBytes: encodePieces(this.#pieces),
      refs: this.#ids.length === 1 ? (this.#ids[0] as Buffer) : Buffer.concat(this.#ids),
    };
  }

  async #intoLists(): Promise<void> {
    this.#lists = new ListBuilder(Kind.data, this.#put);
    let next = 0;
    for (const { length, isHole } of this.#pieces)
      await this.#lists.add({ length, id: isHole ? undefined : (this.#ids[next++] as ObjectId) });
    this.#pieces = [];
    this.#ids = [];
  }
}
