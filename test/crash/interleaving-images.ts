// What the sessions of the interleavings store: contents by number, and images of several pages of them; and how it is damaged.
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import type { DataKey } from '../../src/chunker/data-key.ts';
import { encodeList } from '../../src/chunker/list.ts';
import { Kind, type ObjectId, parseId } from '../../src/chunker/object.ts';
import type { ObjectSource } from '../../src/datastore/object-source.ts';
import { PACK_HEADER_BYTES } from '../../src/datastore/packs/pack-format.ts';
import type { BackupSession } from '../../src/datastore/sessions/backup-session.ts';
import type { Manifest } from '../../src/schema/manifest.ts';

/** Puts the list that makes an image of several pages. */
export async function putList(
  session: BackupSession,
  entries: readonly { id: ObjectId; length: number }[],
): Promise<ObjectId> {
  const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries });
  return await session.put(Kind.list, refs, payload);
}

/** Contents that several sessions put; higher numbers are put once, and so are surely new. */
export const SHARED_CONTENTS = 14;

const contents = new Map<number, string>();

/** What does not compress, the same for the same number, between 3 and 40 KB. */
export function contentOf(which: number): string {
  let text = contents.get(which) ?? `${which}:`;
  const length = 3000 + (which % SHARED_CONTENTS) * 2800;
  while (text.length < length) text += createHash('sha512').update(text.slice(-100)).digest('base64');
  contents.set(which, text);
  return text;
}

export const sizeOf = (which: readonly number[]): number => textOf(which).length;
export const textOf = (which: readonly number[]): string => which.map(contentOf).join('');

/** The bytes of a snapshot's image: a list of pages of chunks. The source learns the key only here. */
export function readImage(source: ObjectSource, manifest: Manifest, key: DataKey | undefined): string {
  const image = manifest.client.archives[0];
  const { space } = manifest.server;
  if (key !== undefined) source.unlock(space, key);
  const list = source.get(space, parseId((image as { root: string }).root) as ObjectId);
  const parts: Buffer[] = [];
  for (const page of idsOf(list.refs))
    for (const chunk of idsOf(source.get(space, page).refs)) parts.push(Buffer.from(source.get(space, chunk).payload));
  return Buffer.concat(parts).toString();
}

function idsOf(refs: Uint8Array): ObjectId[] {
  return Array.from(
    { length: refs.length / 32 },
    (_, at) => Buffer.from(refs.subarray(at * 32, at * 32 + 32)) as ObjectId,
  );
}

/** Damages one byte behind a pack's header, at a place from 0 to 1. Whether there is one; a pack may go while it is looked at. */
export function flipBit(pack: string, place: number): boolean {
  const size = statSync(pack, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= PACK_HEADER_BYTES) return false;
  const fd = openSync(pack, 'r+');
  try {
    const at = PACK_HEADER_BYTES + Math.floor(place * (size - PACK_HEADER_BYTES));
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, at);
    byte[0]! ^= 0x10;
    writeSync(fd, byte, 0, 1, at);
    return true;
  } finally {
    closeSync(fd);
  }
}
