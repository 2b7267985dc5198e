// Collections on a store of a test, and looks at what they leave.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type ObjectId, PLAIN_SPACE } from '../../../src/chunker/object.ts';
import type { GarbageCollection, MarkResult, SweepResult } from '../../../src/datastore/gc/collect-garbage.ts';
import { NO_SIGNAL, type OpenStore } from '../../support/store.ts';

export interface Collected {
  readonly marked: MarkResult;
  readonly swept: SweepResult;
}

/** Contents that compress badly, so that packs have a size worth looking at. */
export const text = (seed: string, bytes = 20_000): string => {
  let out = '';
  for (let n = 0; out.length < bytes; n++) out += createHash('sha512').update(`${seed}${n}`).digest('base64');
  return `${seed}:${out}`;
};

export async function gcIn<Result>(open: OpenStore, use: (gc: GarbageCollection) => Promise<Result>): Promise<Result> {
  return await open.store.collectGarbage({ signal: NO_SIGNAL }, use);
}

/** All of it, with an audit that finds everything. */
export async function collectIn(open: OpenStore): Promise<Collected> {
  return await gcIn(open, async (gc) => {
    const marked = await gc.mark();
    const swept = await gc.sweep(gc.plan(marked));
    const audit = await gc.audit();
    assert.deepEqual(audit.unreadable, [], 'the audit found everything');
    return { marked, swept };
  });
}

/** The first chunk of an image, by way of the page `of`. */
export function chunkOf(open: OpenStore, image: ObjectId, of = image): ObjectId {
  const firstOf = (id: ObjectId): ObjectId =>
    Buffer.from(open.store.source.get(PLAIN_SPACE, id).refs.subarray(0, 32)) as ObjectId;
  return firstOf(firstOf(of));
}

/** The index entries of an object, also of copies that are gone. */
export function copiesOf(open: OpenStore, id: Uint8Array): number[] {
  const { index } = open.store;
  const copies: number[] = [];
  for (let entry = index.first(PLAIN_SPACE, id); entry >= 0; entry = index.next()) copies.push(entry);
  return copies;
}
