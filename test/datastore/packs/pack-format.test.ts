// The bytes of a pack, compared with a golden file and with a second encoder written from docs/format.md, section 6.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import {
  BLOCK_BYTES,
  decodeCheckpoint,
  decodeFooter,
  decodePackHeader,
  decodeTrailer,
  encodeCheckpoint,
  encodeFooter,
  encodePackHeader,
  FRAME_HEADER_BYTES,
  FrameCodec,
  FrameType,
  PACK_HEADER_BYTES,
  type PackHeader,
  padBytes,
  readFrame,
  readTableEntry,
  TABLE_ENTRY_BYTES,
  TRAILER_BYTES,
  writeTableEntry,
} from '../../../src/datastore/packs/pack-format.ts';
import { referenceBlake3 } from '../../chunker/reference-blake3.ts';
import { makeRecord } from '../fixture.ts';

const header: PackHeader = {
  packId: Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex'),
  salt: Buffer.alloc(32, 0x5a),
  kind: 1,
  sessionId: Buffer.alloc(16, 0x33),
  epoch: 7,
  createdMs: 1_760_000_000_123,
  storeId: Buffer.alloc(16, 0x44),
};

/** The pack of the golden file through our functions: record, barrier, record of another space, footer. */
function goldenPack(): Buffer {
  const codec = new FrameCodec(header.salt);
  const parts = [encodePackHeader(header)];
  let at = PACK_HEADER_BYTES;
  const table: Buffer[] = [];
  const push = (part: Buffer) => {
    parts.push(part);
    at += part.length;
  };
  const record = (space: number, text: string) => {
    const made = makeRecord(Buffer.from(text));
    const frame = Buffer.concat([Buffer.alloc(FRAME_HEADER_BYTES), made.record]);
    codec.writeHeader(frame, at, FrameType.record, made.record.length, space);
    const entry = Buffer.alloc(TABLE_ENTRY_BYTES, 0xff);
    const place = { id: made.id, space, offset: at + FRAME_HEADER_BYTES, length: made.record.length, kind: made.kind };
    writeTableEntry(entry, 0, { ...place, depth: 0 });
    table.push(entry);
    push(frame);
  };
  record(0, 'first');
  const pad = Buffer.alloc(padBytes(at));
  codec.writeHeader(pad, at, FrameType.pad, pad.length - FRAME_HEADER_BYTES, 0);
  push(pad);
  push(encodeCheckpoint(codec, header.salt, at, 0, Buffer.concat(table)));
  record(2, 'second');
  push(encodeFooter(codec, header, at, Buffer.concat(table)));
  return Buffer.concat(parts);
}

/** The same pack from the specification alone. */
function specifiedPack(): Buffer {
  const u32 = (value: number) => Buffer.from([value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24]);
  const u64 = (value: number) => Buffer.concat([u32(value % 2 ** 32), u32(Math.floor(value / 2 ** 32))]);
  const zeros = (length: number) => Buffer.alloc(length);
  const head = Buffer.concat([
    Buffer.from('HOLDPACK'),
    Buffer.of(1, 0, 1, 0),
    u32(128),
    header.packId,
    header.salt,
    header.sessionId,
    u64(7),
    u64(1_760_000_000_123),
    header.storeId,
  ]);
  let file = Buffer.concat([head, referenceBlake3(head).subarray(0, 16)]);
  const frame = (type: number, space: number, body: Buffer) => {
    const start = Buffer.concat([u32(body.length), Buffer.of(type, 0, 0, 0), u32(space)]);
    const end = type === 2 ? zeros(0) : body.subarray(body.length - 16);
    const tag = crc32(Buffer.concat([header.salt, u64(file.length), start, end]));
    file = Buffer.concat([file, start, u32(tag), body]);
  };
  const mac = (content: Buffer) => Buffer.concat([content, referenceBlake3(content, header.salt).subarray(0, 16)]);
  const row = (text: string, space: number, offset: number) => {
    const { id, record } = makeRecord(Buffer.from(text));
    return Buffer.concat([id, u32(space), u32(offset), u32(record.length), Buffer.of(1, 0, 0, 0)]);
  };
  const first = row('first', 0, file.length + 16);
  frame(1, 0, makeRecord(Buffer.from('first')).record);
  frame(2, 0, zeros(4096 - file.length - 16));
  frame(3, 0, mac(Buffer.concat([u32(1), u32(0), u64(0), first, zeros(4096 - 16 - 16 - 48 - 16)])));
  const second = row('second', 2, file.length + 16);
  frame(1, 2, makeRecord(Buffer.from('second')).record);
  const at = file.length;
  const content = Buffer.concat([u32(2), u32(0), first, second]);
  const fill = zeros(3 * 4096 - at - 16 - content.length - 64);
  const trailer = Buffer.concat([Buffer.from('HOLDFOOT'), u64(at), u32(2), u32(0), header.packId, zeros(8)]);
  frame(4, 0, mac(Buffer.concat([content, fill, trailer])));
  return file;
}

test('a pack has the bytes of the golden file and of the specification', () => {
  const pack = goldenPack();
  const golden = JSON.parse(readFileSync(new URL('../../vectors/pack.json', import.meta.url), 'utf8')) as {
    pack: string;
  };
  assert.deepEqual(pack, specifiedPack());
  // Runs of zero bytes are left out of the vector: `[n]` stands for n of them.
  const bytes = golden.pack.replace(/\[(\d+)\]/g, (_, count: string) => '00'.repeat(Number(count)));
  assert.equal(pack.toString('hex'), bytes);
});

test('the header round-trips, and any changed bit makes it none', () => {
  const bytes = encodePackHeader(header);
  assert.deepEqual(decodePackHeader(bytes), header);
  for (let bit = 0; bit < PACK_HEADER_BYTES * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(decodePackHeader(changed), undefined, `bit ${bit}`);
  }
  assert.equal(decodePackHeader(bytes.subarray(0, 127)), undefined);
});

test('a frame holds only in its pack, at its place, with its header and the end of its body', () => {
  const codec = new FrameCodec(header.salt);
  const frame = Buffer.concat([Buffer.alloc(16), Buffer.from('a body of thirty-two bytes, done')]);
  codec.writeHeader(frame, 2 ** 33 + 5, FrameType.record, 32, 9);
  const read = readFrame(frame);
  assert.ok(read !== undefined);
  assert.deepEqual({ ...read, tag: 0 }, { type: FrameType.record, bodyLength: 32, space: 9, tag: 0 });
  assert.ok(codec.check(frame, 2 ** 33 + 5, read));
  assert.ok(!codec.check(frame, 5, read), 'the high half of the offset counts');
  assert.ok(!codec.check(frame, 2 ** 33 + 6, read));
  assert.ok(!new FrameCodec(Buffer.alloc(32, 1)).check(frame, 2 ** 33 + 5, read));
  for (const at of [0, 8, 12, 32, 47]) {
    const changed = Buffer.from(frame);
    changed[at]! ^= 1;
    const again = readFrame(changed);
    assert.ok(again === undefined || again.bodyLength > 32 || !codec.check(changed, 2 ** 33 + 5, again), `byte ${at}`);
  }
});

test('impossible frames are none', () => {
  const frame = (length: number, type: number, reserved = 0) => {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt32LE(length, 0);
    bytes.writeUInt8(type, 4);
    bytes.writeUInt8(reserved, 5);
    return readFrame(bytes);
  };
  assert.ok(frame(16, FrameType.record) !== undefined);
  assert.ok(frame(0, FrameType.pad) !== undefined);
  for (const bad of [
    frame(16, 0),
    frame(16, 5),
    frame(16, 1, 1),
    frame(15, FrameType.record),
    frame(0, FrameType.footer),
  ]) {
    assert.equal(bad, undefined);
  }
  assert.equal(readFrame(Buffer.alloc(15, 1)), undefined);
});

test('a pad always reaches the next block boundary and is a whole frame', () => {
  fc.assert(
    fc.property(fc.integer({ min: 128, max: 2 ** 28 }), (offset) => {
      const pad = padBytes(offset);
      assert.equal((offset + pad) % BLOCK_BYTES, 0);
      assert.ok(pad === 0 || (pad >= FRAME_HEADER_BYTES && pad < BLOCK_BYTES + FRAME_HEADER_BYTES));
    }),
  );
  assert.deepEqual([4096, 4097, 4080, 4081, 4095].map(padBytes), [0, 4095, 16, 15 + 4096, 1 + 4096]);
});

const tableOf = (count: number): Buffer => {
  const table = Buffer.alloc(count * TABLE_ENTRY_BYTES);
  for (let n = 0; n < count; n++) {
    const entry = {
      id: Buffer.alloc(32, n),
      space: n,
      offset: 2 ** 32 - 1 - n,
      length: n * 3,
      kind: n % 256,
      depth: 4,
    };
    writeTableEntry(table, n * TABLE_ENTRY_BYTES, entry);
    assert.deepEqual(readTableEntry(table, n * TABLE_ENTRY_BYTES), entry);
  }
  return table;
};

test('checkpoints and footers of any count end at a block, and give their table back only unharmed', () => {
  const codec = new FrameCodec(header.salt);
  for (const count of [0, 1, 84, 85, 86, 170, 1000]) {
    const table = tableOf(count);
    const checkpoint = encodeCheckpoint(codec, header.salt, 8192, 4096, table);
    assert.equal(checkpoint.length % BLOCK_BYTES, 0);
    assert.deepEqual(decodeCheckpoint(checkpoint, header.salt), table);
    const footer = encodeFooter(codec, header, 8192 + 777, table);
    assert.equal((8192 + 777 + footer.length) % BLOCK_BYTES, 0);
    assert.deepEqual(decodeFooter(footer, header.salt), table);
    const trailer = decodeTrailer(footer.subarray(-TRAILER_BYTES));
    assert.deepEqual({ ...trailer, mac: 0 }, { footerOffset: 8192 + 777, count, packId: header.packId, mac: 0 });
    for (const [bytes, decode] of [
      [checkpoint, decodeCheckpoint],
      [footer, decodeFooter],
    ] as const) {
      assert.equal(decode(bytes, Buffer.alloc(32)), undefined, 'another salt');
      for (const at of [16, 24, 40, Math.floor(bytes.length / 2), bytes.length - 1]) {
        const changed = Buffer.from(bytes);
        changed[at]! ^= 0x10;
        assert.equal(decode(changed, header.salt), undefined, `byte ${at}`);
      }
    }
  }
});

test('a count that lies under a right mac gives no table', () => {
  const codec = new FrameCodec(header.salt);
  for (const [frame, decode] of [
    [encodeCheckpoint(codec, header.salt, 4096, 0, tableOf(2)), decodeCheckpoint],
    [encodeFooter(codec, header, 4096, tableOf(2)), decodeFooter],
  ] as const) {
    frame.writeUInt32LE(86, 16);
    referenceBlake3(frame.subarray(16, -16), header.salt).copy(frame, frame.length - 16, 0, 16);
    assert.equal(decode(frame, header.salt), undefined);
  }
});

test('what is no trailer is none', () => {
  const footer = encodeFooter(new FrameCodec(header.salt), header, 128, tableOf(1));
  assert.equal(decodeTrailer(footer.subarray(-63)), undefined);
  assert.equal(decodeTrailer(footer.subarray(-65, -1)), undefined);
  assert.equal(decodeTrailer(Buffer.alloc(64)), undefined);
  assert.equal(decodeFooter(Buffer.alloc(40), header.salt), undefined);
});
