// The diff against a byte-for-byte comparison of what the trees hold.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeList, ListBuilder } from '../../../src/chunker/list.ts';
import { copyId, Kind, LIST_FANOUT, type ObjectId, type StoredObject } from '../../../src/chunker/object.ts';
import { IdHasher } from '../../../src/chunker/object-id.ts';
import { PageBuilder } from '../../../src/chunker/page.ts';
import { diffArchives } from '../../../src/datastore/accounting/extent-diff.ts';
import type { Archive } from '../../../src/schema/manifest.ts';

const hasher = new IdHasher();

/** Objects in memory, and how often one was read. */
class Objects {
  readonly #objects = new Map<string, StoredObject>();
  reads = 0;

  put(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    const id = copyId(hasher.id(kind, refs, payload));
    this.#objects.set(id.toString('hex'), { kind, refs: Buffer.from(refs), payload: Buffer.from(payload) });
    return id;
  }

  read = (id: ObjectId): StoredObject => {
    this.reads++;
    const object = this.#objects.get(id.toString('hex'));
    assert.ok(object !== undefined && object.kind !== Kind.data, 'only metadata that is there is read');
    return object;
  };
}

/** One character a chunk, `.` a hole; as many chunks a page as given. */
async function image(objects: Objects, content: string, perPage = 4): Promise<Archive> {
  const lists = new ListBuilder(Kind.page, async (kind, refs, payload) => objects.put(kind, refs, payload));
  for (let at = 0; at < content.length; at += perPage) {
    const part = content.slice(at, at + perPage);
    const page = new PageBuilder();
    for (const char of part)
      if (char === '.') page.addHole(4096);
      else page.addData(4096, objects.put(Kind.data, new Uint8Array(0), Buffer.alloc(4096, char)));
    const { refs, payload } = page.finish();
    const id = /^\.+$/.test(part) ? undefined : objects.put(Kind.page, refs, payload);
    await lists.add({ length: part.length * 4096, id });
  }
  const root = await lists.finish();
  return { name: 'disk0.img', kind: 'image', sizeBytes: content.length * 4096, root: root.toString('hex') };
}

/** What differs by block, from the contents alone. */
function expected(before: string, after: string): string {
  let kinds = '';
  for (let at = 0; at < Math.max(before.length, after.length); at++) {
    const [a, b] = [before[at], after[at]];
    kinds += a === b ? '=' : a === undefined ? 'a' : b === undefined ? 'r' : b === '.' ? 'z' : 'c';
  }
  return kinds;
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function found(objects: Objects, before: Archive, after: Archive): Promise<string> {
  const kinds = Array.from({ length: Math.max(before.sizeBytes, after.sizeBytes) / 4096 }, () => '=');
  let end = -1;
  let last = '';
  for await (const { offset, length, kind } of diffArchives(before, after, objects.read)) {
    assert.ok(offset > end || (offset === end && kind !== last), 'in order, and neighbours of a kind are joined');
    kinds.fill(kind[0] as string, offset / 4096, (offset + length) / 4096);
    end = offset + length;
    last = kind;
  }
  return kinds.join('');
}

test('any two images: exactly the blocks that differ, of every kind', async () => {
  const content = fc.array(fc.constantFrom('a', 'b', '.'), { maxLength: 24 }).map((chars) => chars.join(''));
  await fc.assert(
    fc.asyncProperty(content, content, async (before, after) => {
      const objects = new Objects();
      const [a, b] = [await image(objects, before), await image(objects, after)];
      assert.equal(await found(objects, a, b), expected(before, after));
    }),
    { numRuns: 500 },
  );
});

test('trees of different heights, and only what differs is read', async () => {
  const objects = new Objects();
  const old = 'ab'.repeat(LIST_FANOUT + 10);
  const fresh = `${old.slice(0, 600)}x${old.slice(601)}y`;
  const [a, b] = [await image(objects, old, 1), await image(objects, fresh, 1)];
  const small = await image(objects, old.slice(0, 20), 1);
  assert.equal(await found(objects, a, b), expected(old, fresh));
  assert.ok(objects.reads <= 8, `${objects.reads} objects were read`);
  assert.equal(await found(objects, small, b), expected(old.slice(0, 20), fresh));
  objects.reads = 0;
  assert.equal(await found(objects, a, a), '='.repeat(old.length));
  assert.equal(objects.reads, 0, 'equal roots are not opened');
});

test('pieces that begin at other places are compared where they overlap', async () => {
  const objects = new Objects();
  const stream = (lengths: readonly number[]): Archive => {
    const entries = lengths.map((length, n) => ({
      length,
      id: objects.put(Kind.data, new Uint8Array(0), Buffer.alloc(length, n)),
    }));
    const { refs, payload } = encodeList({ childKind: Kind.data, height: 1, entries });
    const sizeBytes = lengths.reduce((sum, length) => sum + length, 0);
    return { name: 'x.img', kind: 'stream', sizeBytes, root: objects.put(Kind.list, refs, payload).toString('hex') };
  };
  assert.deepEqual(await collect(diffArchives(stream([10, 20, 30]), stream([10, 30, 15]), objects.read)), [
    { offset: 10, length: 45, kind: 'changed' },
    { offset: 55, length: 5, kind: 'removed' },
  ]);
});

test('a list that does not hold what its place says is damage', async () => {
  const objects = new Objects();
  const [a, b] = [await image(objects, 'abcd'), await image(objects, 'abcx')];
  await assert.rejects(collect(diffArchives(a, { ...b, sizeBytes: b.sizeBytes + 1 }, objects.read)), {
    code: 'object-damaged',
  });
});
