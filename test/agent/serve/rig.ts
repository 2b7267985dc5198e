// Archives in memory, with real pages and lists, and threads that "load" from it into the slab.

import type { LoadFailure, LoadWork } from '../../../src/agent/serve/load-pieces.ts';
import { SlabTarget } from '../../../src/agent/serve/slab.ts';
import { ListBuilder } from '../../../src/chunker/list.ts';
import { Kind, type ObjectId, PAGE_BYTES, type StoredObject } from '../../../src/chunker/object.ts';
import { IdHasher } from '../../../src/chunker/object-id.ts';
import { PageBuilder } from '../../../src/chunker/page.ts';
import type { Archive } from '../../../src/schema/manifest.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { plainError } from '../../../src/util/plain-error.ts';
import { pattern } from '../nbd/servers.ts';

/** A piece to build a disk of; `seed` undefined is a hole. */
export interface Piece {
  readonly length: number;
  readonly seed: number | undefined;
}

export class MemoryStore {
  readonly objects = new Map<string, StoredObject>();
  readonly loads: number[] = [];
  /** Ids in hexadecimal that cannot be loaded. */
  readonly bad = new Set<string>();
  reads = 0;
  /** Loads wait for it. */
  gate: Promise<void> = Promise.resolve();
  readonly #hasher = new IdHasher();

  put(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    const id = Buffer.from(this.#hasher.id(kind, refs, payload)) as ObjectId;
    this.objects.set(id.toString('hex'), { kind, refs: Buffer.from(refs), payload: Buffer.from(payload) });
    return id;
  }

  get(id: Uint8Array): StoredObject {
    this.reads++;
    const hex = Buffer.from(id).toString('hex');
    const object = this.objects.get(hex);
    if (object === undefined || this.bad.has(hex))
      throw new HoldfastError('object-missing', `object ${hex} is missing`);
    return object;
  }

  /** What threads do: each piece into its blocks, failures by place. */
  async load(slab: SharedArrayBuffer, { pieces, blocks }: LoadWork): Promise<LoadFailure[]> {
    await this.gate;
    this.loads.push(pieces.length);
    const target = new SlabTarget(
      new Uint8Array(slab),
      pieces.map((piece) => piece.length),
      blocks,
    );
    const failures: LoadFailure[] = [];
    pieces.forEach((piece, place) => {
      try {
        target.write(0, this.get(piece.id).payload);
      } catch (error) {
        failures.push({ place, error: plainError(error) });
        target.write(0, new Uint8Array(piece.length));
      }
    });
    return failures;
  }

  /** Builds an image of these pieces, cut at pages; pages of nothing are holes of the list. */
  async image(pieces: readonly Piece[]): Promise<{ archive: Archive; content: Buffer }> {
    const lists = new ListBuilder(Kind.page, async (kind, refs, payload) => this.put(kind, refs, payload));
    const builder = new PageBuilder();
    const parts: Buffer[] = [];
    let pageBytes = 0;
    let isHole = true;
    const endPage = async (): Promise<void> => {
      if (pageBytes === 0) return;
      const { refs, payload } = builder.finish();
      await lists.add({ length: pageBytes, id: isHole ? undefined : this.put(Kind.page, refs, payload) });
      builder.clear();
      pageBytes = 0;
      isHole = true;
    };
    for (const { length: wanted, seed } of pieces) {
      for (let left = wanted; left > 0; ) {
        const length = Math.min(left, PAGE_BYTES - pageBytes);
        // No byte of data is zero: what reads as zero is a hole.
        const bytes =
          seed === undefined ? Buffer.alloc(length) : Buffer.from(pattern(length, seed).map((byte) => byte | 1));
        parts.push(bytes);
        if (seed === undefined) builder.addHole(length);
        else builder.addData(length, this.put(Kind.data, new Uint8Array(0), bytes));
        isHole &&= seed === undefined;
        pageBytes += length;
        left -= length;
        if (pageBytes === PAGE_BYTES) await endPage();
      }
    }
    await endPage();
    const content = Buffer.concat(parts);
    const root = (await lists.finish()).toString('hex');
    return { archive: { name: 'disk0.img', kind: 'image', sizeBytes: content.length, root }, content };
  }
}
