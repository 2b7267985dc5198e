import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AREAS, PIECE_BYTES, SharedRoom } from '../../../src/transport/client/shared-room.ts';

test('pieces are taken until none is left, and those that were given back can be taken again, at the other end too', () => {
  const room = new SharedRoom();
  const there = new SharedRoom(room.buffer);
  const taken: number[] = [];
  for (let piece = room.takePiece(); piece !== undefined; piece = room.takePiece()) taken.push(piece);
  assert.equal(new Set(taken).size, taken.length);
  assert.ok(taken.length * PIECE_BYTES > 8 * 1024 * 1024, 'what may be unanswered has room');
  there.givePiece(3);
  assert.equal(room.takePiece(), 3);
  assert.equal(room.takePiece(), undefined);
});

test('no byte belongs to two pieces or areas', () => {
  const room = new SharedRoom();
  const parts: Uint8Array[] = [];
  for (let piece = room.takePiece(); piece !== undefined; piece = room.takePiece()) parts.push(room.piece(piece));
  for (let area = 0; area < AREAS; area++) parts.push(room.area(area));
  parts.forEach((part, place) => void part.fill(place + 1));
  parts.forEach((part, place) => {
    assert.ok(
      part.every((byte) => byte === place + 1),
      `part ${place}`,
    );
  });
  assert.ok(room.takePiece() === undefined, 'the state is elsewhere');
});

test('frames are found to be of their piece, and others of none', () => {
  const room = new SharedRoom();
  assert.equal(room.pieceOf(room.piece(4).subarray(17, 18)), 4);
  assert.equal(room.pieceOf(room.piece(0).subarray(PIECE_BYTES - 1)), 0);
  assert.equal(room.pieceOf(new Uint8Array(10)), undefined);
});
