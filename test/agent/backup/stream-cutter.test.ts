import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StreamCutter, type StreamPiece } from '../../../src/agent/backup/stream-cutter.ts';
import { streamCutParameters } from '../../../src/chunker/cut-parameters.ts';
import { createCutter } from '../../../src/chunker/cutter.ts';
import { Arena } from '../../../src/util/arena.ts';
import { referenceStreamLengths } from '../../chunker/reference-cutter.ts';
import { pattern } from '../nbd/servers.ts';
import { MemorySink } from './memory-sink.ts';

const AVERAGE_BYTES = 16 * 1024;
const cut = streamCutParameters(AVERAGE_BYTES);

class StreamRig {
  readonly sink: MemorySink;
  readonly cutter: StreamCutter;

  /** A small window, so that portions larger than it are common. */
  constructor(windowBytes = 4096 + 2 * cut.maxBytes) {
    const arena = new Arena(65536 + windowBytes + 8192);
    const cutter = createCutter(arena.memory);
    cutter.setStream(cut);
    this.cutter = new StreamCutter(cutter, arena.allocate(windowBytes));
    this.sink = new MemorySink(arena.bytes);
  }

  cut(stream: Uint8Array, portions: readonly number[], endsWithEmpty = true): StreamPiece[] {
    this.cutter.start();
    const pieces: StreamPiece[] = [];
    let at = 0;
    for (const portion of portions) {
      pieces.push(...this.cutter.take(stream.subarray(at, at + portion), false, this.sink));
      at = Math.min(stream.length, at + portion);
    }
    const rest = stream.subarray(at);
    if (endsWithEmpty) pieces.push(...this.cutter.take(rest, false, this.sink));
    pieces.push(...this.cutter.take(endsWithEmpty ? new Uint8Array(0) : rest, true, this.sink));
    return pieces;
  }

  bytesOf(pieces: readonly StreamPiece[]): Buffer {
    return Buffer.concat(
      pieces.map(({ id, length }) => (id === undefined ? Buffer.alloc(length) : (this.sink.get(id).payload as Buffer))),
    );
  }
}

/** Noise, text-like bytes and zeros in turn. */
const streams = fc
  .array(fc.tuple(fc.constantFrom('noise', 'few', 'zero'), fc.nat(120_000), fc.nat(5)), { maxLength: 6 })
  .map((parts) => ({
    parts,
    bytes: (): Buffer =>
      Buffer.concat(
        parts.map(([kind, length, seed]) => {
          if (kind === 'zero') return Buffer.alloc(length);
          const bytes = pattern(length + 4, seed + 1).subarray(0, length);
          return kind === 'few' ? bytes.map((byte) => byte & 7) : bytes;
        }),
      ),
  }));

test('any portioning gives the pieces of cutting the stream in one go', () => {
  const rig = new StreamRig();
  const portions = fc.array(fc.oneof(fc.nat(300), fc.nat(200_000)), { maxLength: 8 });
  fc.assert(
    fc.property(streams, portions, fc.boolean(), ({ bytes }, sizes, endsWithEmpty) => {
      const stream = bytes();
      const pieces = rig.cut(stream, sizes, endsWithEmpty);
      assert.deepEqual(
        pieces.map(({ length }) => length),
        referenceStreamLengths(stream, cut),
      );
      assert.ok(rig.bytesOf(pieces).equals(stream));
      rig.sink.objects.clear();
    }),
    { numRuns: 150 },
  );
});

test('pieces come as soon as they are certain, and not before', () => {
  const rig = new StreamRig();
  const stream = pattern(300_000, 7);
  rig.cutter.start();
  let given = 0;
  for (let at = 0; at < stream.length; at += 1000) {
    for (const { length } of rig.cutter.take(stream.subarray(at, at + 1000), false, rig.sink)) given += length;
    const arrived = Math.min(stream.length, at + 1000);
    assert.ok(given <= arrived && arrived - given < cut.maxBytes, `${given} of ${arrived}`);
  }
});

test('an empty stream has no pieces, one byte has one', () => {
  const rig = new StreamRig();
  assert.deepEqual(rig.cut(new Uint8Array(0), []), []);
  const [piece, ...more] = rig.cut(Buffer.from('x'), []);
  assert.deepEqual(more, []);
  assert.equal(piece.length, 1);
  assert.equal((rig.sink.get(piece.id as never).payload as Buffer).toString(), 'x');
});

test('pieces of zeros are holes; they need no object', () => {
  const rig = new StreamRig();
  const pieces = rig.cut(Buffer.alloc(cut.maxBytes * 3 + 5), [1, 70_000]);
  assert.deepEqual(
    pieces.map(({ length, id }) => [length, id]),
    [...Array(3).fill([cut.maxBytes, undefined]), [5, undefined]],
  );
  assert.equal(rig.sink.objects.size, 0);
});

test('a new stream does not see what the one before left unfinished', () => {
  const rig = new StreamRig();
  rig.cutter.start();
  rig.cutter.take(pattern(5000, 1), false, rig.sink);
  const stream = pattern(200_000, 2);
  assert.ok(rig.bytesOf(rig.cut(stream, [10])).equals(stream));
});
