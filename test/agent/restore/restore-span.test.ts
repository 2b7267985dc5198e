// A part of an archive to a pipe: exactly its bytes, whatever lies across its ends, and nothing else is read.
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RestoreWork } from '../../../src/agent/restore/restore-work.ts';
import { restoreToPipe, type Span } from '../../../src/agent/restore/run-restore.ts';
import { encodeList, type ListEntry } from '../../../src/chunker/list.ts';
import { Kind, type ObjectId, PAGE_BYTES } from '../../../src/chunker/object.ts';
import type { Archive } from '../../../src/schema/manifest.ts';
import type { Threads } from '../../../src/util/worker-pool.ts';
import { TreeObjects } from '../tree/tree-archive.ts';

const SHORT = 1000;

/** A byte of the archive by its place; 0 in holes. */
const byteAt = (place: number): number => (place % 251) + 1;

interface Source {
  readonly archive: Archive;
  readonly objects: TreeObjects;
  readonly bytes: Buffer;
}

/** Pages of 1,000 bytes and holes, four in a list, below a list of lists. The pages are no objects: the threads of the test know them by their place. */
function imageOf(pages: readonly ('data' | 'hole')[]): Source {
  const objects = new TreeObjects();
  const bytes = Buffer.alloc(pages.length * SHORT);
  const entries = pages.map((kind, place): ListEntry => {
    if (kind === 'hole') return { length: SHORT, id: undefined };
    for (let at = place * SHORT; at < (place + 1) * SHORT; at++) bytes[at] = byteAt(at);
    const id = Buffer.alloc(32);
    id.writeUInt32LE(place);
    return { length: SHORT, id: id as ObjectId };
  });
  const lists: ListEntry[] = [];
  for (let at = 0; at < entries.length; at += 4) {
    const part = entries.slice(at, at + 4);
    const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries: part });
    lists.push({ length: part.length * SHORT, id: objects.put(Kind.list, refs, payload) });
  }
  const { refs, payload } = encodeList({ childKind: Kind.list, height: 2, entries: lists });
  const root = objects.put(Kind.list, refs, payload).toString('hex');
  return { archive: { name: 'a.img', kind: 'image', sizeBytes: bytes.length, root }, objects, bytes };
}

async function restored(
  { archive, objects }: Source,
  span: Span | undefined,
): Promise<{ bytes: Buffer; read: number[] }> {
  const read: number[] = [];
  const threads: Threads = {
    size: 2,
    call: async <Result>(_: number, __: string, argument: unknown): Promise<Result> => {
      const { offset, length, page } = argument as RestoreWork;
      const bytes = new Uint8Array(length);
      if (page !== undefined) {
        read.push(Buffer.from(page).readUInt32LE());
        for (let at = 0; at < length; at++) bytes[at] = byteAt(offset + at);
      }
      return { bytes: bytes.buffer, lost: [] } as Result;
    },
  };
  const taken: Buffer[] = [];
  const stdout = new Writable({
    write: (part: Buffer, _, done) => {
      taken.push(Buffer.from(part));
      done();
    },
  });
  const { signal } = new AbortController();
  const request = { archive, space: 0, span, zeroLost: false, stdout, signal, onProgress: () => {} };
  await restoreToPipe(request, threads, (_, id) => objects.get(id));
  return { bytes: Buffer.concat(taken), read: read.sort((a, b) => a - b) };
}

test('any span has its bytes, and reads the pages that it touches', async () => {
  const pages = fc.array(fc.constantFrom('data' as const, 'hole' as const), { minLength: 1, maxLength: 11 });
  await fc.assert(
    fc.asyncProperty(pages, fc.nat(), fc.nat(), async (kinds, a, b) => {
      const source = imageOf(kinds);
      const start = a % source.bytes.length;
      const end = start + 1 + (b % (source.bytes.length - start));
      const { bytes, read } = await restored(source, { start, end });
      assert.ok(bytes.equals(source.bytes.subarray(start, end)));
      const touched = kinds.flatMap((kind, place) =>
        kind === 'data' && place * SHORT < end && (place + 1) * SHORT > start ? [place] : [],
      );
      assert.deepEqual(read, touched);
    }),
    { numRuns: 200 },
  );
});

test('without a span all of it comes, and an archive that is not as long as its manifest says is damaged', async () => {
  const source = imageOf(['data', 'hole', 'data', 'data', 'data']);
  assert.ok((await restored(source, undefined)).bytes.equals(source.bytes));
  for (const sizeBytes of [source.bytes.length - 1, source.bytes.length + 1])
    await assert.rejects(
      () => restored({ ...source, archive: { ...source.archive, sizeBytes } }, undefined),
      /holds 5000 bytes where its manifest says/,
    );
});

test('a part of a hole of a terabyte costs its own length', async () => {
  const objects = new TreeObjects();
  const length = 2 ** 40;
  const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries: [{ length, id: undefined }] });
  const root = objects.put(Kind.list, refs, payload).toString('hex');
  const source = { archive: { name: 'a.img', kind: 'image', sizeBytes: length, root } as const, objects };
  const start = 2 ** 39 + 12345;
  const { bytes } = await restored({ ...source, bytes: Buffer.alloc(0) }, { start, end: start + PAGE_BYTES + 5 });
  assert.equal(bytes.length, PAGE_BYTES + 5);
  assert.ok(bytes.every((byte) => byte === 0));
});
