import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ObjectFetcher } from '../../../src/agent/object-sink.ts';
import { type LostRange, PieceRestorer, type RestorePiece } from '../../../src/agent/restore/piece-restorer.ts';
import { BufferTarget, type RangeTarget } from '../../../src/agent/restore/target.ts';
import { createCodec } from '../../../src/chunker/create-codec.ts';
import { Kind, type ObjectId, type StoredObject } from '../../../src/chunker/object.ts';
import { IdHasher } from '../../../src/chunker/object-id.ts';
import { PageBuilder } from '../../../src/chunker/page.ts';
import { Arena } from '../../../src/util/arena.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { pattern } from '../nbd/servers.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const MAX_PIECE_BYTES = 256 * KiB;
const NO_REFS = new Uint8Array(0);
const hasher = new IdHasher();

const hex = (id: Uint8Array): string => Buffer.from(id).toString('hex');

function restorer(): PieceRestorer {
  const bytes = PieceRestorer.outputBytes(MAX_PIECE_BYTES);
  const arena = new Arena(65536 + bytes + 8192);
  return new PieceRestorer(arena.bytes, arena.allocate(bytes));
}

/** Objects in a map, and their records; `spoil` changes what `fetch` delivers, `get` stays good. */
class FakeFetcher implements ObjectFetcher {
  readonly objects = new Map<string, StoredObject>();
  readonly gets: string[] = [];
  spoil: (place: number, record: Buffer) => Buffer | undefined = (_, record) => record;
  readonly codec = createCodec(undefined);

  add(kind: number, payload: Uint8Array, refs: Uint8Array = NO_REFS): ObjectId {
    const id = hasher.id(kind, refs, payload);
    this.objects.set(id.toString('hex'), { kind, refs, payload });
    return id;
  }

  get(id: ObjectId): StoredObject {
    const name = Buffer.from(id).toString('hex');
    this.gets.push(name);
    const object = this.objects.get(name);
    if (object === undefined) throw new HoldfastError('object-missing', `no object ${name}`);
    return object;
  }

  fetch(ids: readonly Uint8Array[], deliver: (place: number, record: Uint8Array | undefined) => void): void {
    for (const [place, id] of ids.entries()) {
      const object = this.objects.get(Buffer.from(id).toString('hex'));
      deliver(place, object === undefined ? undefined : this.spoil(place, this.#record(id, object)));
    }
  }

  #record(id: Uint8Array, { kind, refs, payload }: StoredObject): Buffer {
    const target = Buffer.alloc(this.codec.recordBound(refs.length, payload.length));
    return target.subarray(0, this.codec.encode(target, { kind, id, refs, payload }));
  }
}

/** Notes the calls, and keeps the bytes. */
class NotingTarget implements RangeTarget {
  readonly calls: (readonly [what: 'write' | 'hole', offset: number, length: number])[] = [];
  readonly bytes: Buffer;

  constructor(sizeBytes: number) {
    this.bytes = Buffer.alloc(sizeBytes, 0xee);
  }

  write(offset: number, data: Uint8Array): void {
    this.calls.push(['write', offset, data.length]);
    this.bytes.set(data, offset);
  }

  hole(offset: number, length: number): void {
    this.calls.push(['hole', offset, length]);
    this.bytes.fill(0, offset, offset + length);
  }

  close(): void {}
}

function makePieces(fetcher: FakeFetcher, recipe: readonly (readonly [length: number, seed: number])[]) {
  const pieces: RestorePiece[] = [];
  const parts: Buffer[] = [];
  for (const [length, seed] of recipe) {
    // Seed 0: a hole. Seeds are few, so pieces repeat; odd seeds compress well.
    const noise = pattern(length + 4, seed).subarray(0, length);
    const bytes =
      seed === 0 ? Buffer.alloc(length) : seed % 2 === 0 ? noise : Buffer.from(noise.map((byte) => byte & 1));
    parts.push(bytes);
    pieces.push({ length, id: seed === 0 ? undefined : fetcher.add(Kind.data, bytes) });
  }
  return { pieces, bytes: Buffer.concat(parts) };
}

const recipes = fc.array(
  fc.tuple(fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: MAX_PIECE_BYTES })), fc.nat(4)),
  { maxLength: 25 },
);

test('pieces and holes come back in place, in order and without a gap', () => {
  const restore = restorer();
  fc.assert(
    fc.property(recipes, fc.nat(100_000), (recipe, offset) => {
      const fetcher = new FakeFetcher();
      const { pieces, bytes } = makePieces(fetcher, recipe);
      const target = new NotingTarget(offset + bytes.length);
      restore.run(pieces, offset, fetcher, target);
      assert.ok(target.bytes.subarray(offset).equals(bytes));
      let at = offset;
      for (const [, start, length] of target.calls) {
        assert.equal(start, at);
        at += length;
      }
      assert.equal(at, offset + bytes.length);
      assert.deepEqual(fetcher.gets, [], 'good records are enough');
    }),
    { numRuns: 60 },
  );
});

test('holes are told to the target one by one, data in runs of about a MiB', () => {
  const fetcher = new FakeFetcher();
  const quarter = 200 * KiB;
  const { pieces, bytes } = makePieces(fetcher, [
    [5000, 0],
    ...Array.from({ length: 14 }, (_, place): [number, number] => [quarter, 2 + place * 2]),
    [1, 0],
    [1, 2],
    [4096, 0],
  ]);
  const target = new NotingTarget(bytes.length);
  restorer().run(pieces, 0, fetcher, target);
  assert.ok(target.bytes.equals(bytes));
  assert.deepEqual(target.calls, [
    ['hole', 0, 5000],
    ['write', 5000, 6 * quarter],
    ['write', 5000 + 6 * quarter, 6 * quarter],
    ['write', 5000 + 12 * quarter, 2 * quarter],
    ['hole', 5000 + 14 * quarter, 1],
    ['write', 5001 + 14 * quarter, 1],
    ['hole', 5002 + 14 * quarter, 4096],
  ]);
});

const spoils: Record<string, (record: Buffer) => Buffer | undefined> = {
  'that cannot be read': () => undefined,
  'that is torn': (record) => record.subarray(0, record.length - 30),
  'of which only a stub is left': (record) => record.subarray(0, 10),
  'with a flipped bit in its payload': (record) => flip(record, record.length - 20),
  'with another magic': (record) => flip(record, 0),
  'that claims to be larger': (record) => {
    record.writeUInt32LE(record.readUInt32LE(16) + 1, 16);
    return record;
  },
  'that claims to be smaller': (record) => {
    record.writeUInt32LE(record.readUInt32LE(16) - 1, 16);
    return record;
  },
};
for (const [what, spoil] of Object.entries(spoils)) {
  test(`a record ${what} is read the thorough way`, () => {
    const fetcher = new FakeFetcher();
    const { pieces, bytes } = makePieces(fetcher, [
      [7000, 2],
      [8192, 1],
      [5000, 4],
      [4096, 0],
      [100, 6],
    ]);
    for (const bad of [0, 1, 2, 3]) {
      fetcher.gets.length = 0;
      fetcher.spoil = (place, record) => (place === bad ? spoil(record) : record);
      const target = new NotingTarget(bytes.length);
      restorer().run(pieces, 0, fetcher, target);
      assert.ok(target.bytes.equals(bytes));
      assert.equal(fetcher.gets.length, 1);
    }
  });
}

test('a good record of another object is not taken for the one that was asked for', () => {
  const fetcher = new FakeFetcher();
  const { pieces, bytes } = makePieces(fetcher, [
    [5000, 2],
    [5000, 4],
  ]);
  let first: Buffer | undefined;
  fetcher.spoil = (place, record) => {
    if (place === 0) first = Buffer.from(record);
    return place === 0 ? record : first;
  };
  const target = new NotingTarget(bytes.length);
  restorer().run(pieces, 0, fetcher, target);
  assert.ok(target.bytes.equals(bytes));
});

test('a piece larger than any that is cut here is written by itself', () => {
  const fetcher = new FakeFetcher();
  const { pieces, bytes } = makePieces(fetcher, [
    [3000, 2],
    [5 * MiB + 3, 4],
    [3000, 6],
    [10, 0],
  ]);
  const target = new NotingTarget(bytes.length);
  restorer().run(pieces, 0, fetcher, target);
  assert.ok(target.bytes.equals(bytes));
  assert.deepEqual(
    target.calls.map(([what, , length]) => [what, length]),
    [
      ['write', 3000],
      ['write', 5 * MiB + 3],
      ['write', 3000],
      ['hole', 10],
    ],
  );
});

test('a blob, whose id is of another kind than data, is read the thorough way', () => {
  const fetcher = new FakeFetcher();
  const content = Buffer.from('cores: 4\n');
  const id = fetcher.add(Kind.blob, content);
  const target = new NotingTarget(content.length);
  restorer().run([{ length: content.length, id }], 0, fetcher, target);
  assert.ok(target.bytes.equals(content));
  assert.deepEqual(fetcher.gets, [id.toString('hex')]);
});

test('an object that is nowhere, or of another length than its page says, ends the restore', () => {
  const fetcher = new FakeFetcher();
  const { pieces } = makePieces(fetcher, [[5000, 2]]);
  const missing = [{ length: 10, id: Buffer.alloc(32, 9) }];
  const is = (code: string) => (error: unknown) => error instanceof HoldfastError && error.code === code;
  assert.throws(() => restorer().run(missing, 0, fetcher, new NotingTarget(10)), is('object-missing'));
  const wrong = [{ ...pieces[0], length: 4999 }];
  assert.throws(() => restorer().run(wrong, 0, fetcher, new NotingTarget(9000)), is('object-damaged'));
});

test('with a list for lost ranges, zeros stand for what is nowhere, of any size, and the rest is as it was', () => {
  const restore = restorer();
  fc.assert(
    fc.property(recipes, fc.uniqueArray(fc.nat(24), { maxLength: 6 }), fc.nat(9000), (recipe, gone, offset) => {
      const fetcher = new FakeFetcher();
      // One larger than any that is cut here takes another way.
      const { pieces, bytes } = makePieces(fetcher, [...recipe, [MAX_PIECE_BYTES + 5, 6]]);
      const expected = Buffer.from(bytes);
      const isGone = new Set(gone.map((place) => pieces[place % pieces.length]!.id).map((id) => id && hex(id)));
      for (const id of isGone) if (id !== undefined) fetcher.objects.delete(id);
      const ranges: LostRange[] = [];
      let at = 0;
      for (const { id, length } of pieces) {
        if (id !== undefined && isGone.has(hex(id))) {
          expected.fill(0, at, at + length);
          ranges.push({ offset: offset + at, length });
        }
        at += length;
      }
      const target = new NotingTarget(offset + bytes.length);
      const lost: LostRange[] = [];
      restore.run(pieces, offset, fetcher, target, lost);
      assert.ok(target.bytes.subarray(offset).equals(expected));
      assert.deepEqual(lost, ranges);
    }),
    { numRuns: 60 },
  );
});

test('trouble that is no damage ends a restore also with a list for lost ranges', () => {
  const fetcher = new FakeFetcher();
  const { pieces } = makePieces(fetcher, [[100, 2]]);
  fetcher.spoil = () => undefined;
  fetcher.get = () => {
    throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
  };
  assert.throws(() => restorer().run(pieces, 0, fetcher, new NotingTarget(100), []), /too many open files/);
});

test('the pieces of a page are its entries', () => {
  const fetcher = new FakeFetcher();
  const { pieces } = makePieces(fetcher, [
    [8192, 0],
    [4096, 2],
    [12_288, 4],
    [500, 0],
  ]);
  const builder = new PageBuilder();
  for (const { id, length } of pieces) id === undefined ? builder.addHole(length) : builder.addData(length, id);
  const { payload, refs } = builder.finish();
  const page = fetcher.add(Kind.page, payload, Buffer.from(refs));
  assert.deepEqual(
    PieceRestorer.piecesOf(fetcher, page).map(({ length, id }) => [length, id && Buffer.from(id).toString('hex')]),
    pieces.map(({ length, id }) => [length, id && Buffer.from(id).toString('hex')]),
  );
});

test('a buffer gets zeros for holes', () => {
  const fetcher = new FakeFetcher();
  const { pieces, bytes } = makePieces(fetcher, [
    [100, 0],
    [200, 2],
    [300, 0],
  ]);
  const target = new BufferTarget(70_000, bytes.length);
  restorer().run(pieces, 70_000, fetcher, target);
  assert.ok(Buffer.from(target.buffer).equals(bytes));
});

function flip(record: Buffer, at: number): Buffer {
  record[at] ^= 4;
  return record;
}
