import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as nbd from '../../../src/agent/nbd/protocol.ts';
import { Coverage } from '../../../src/agent/nbd/requests.ts';
import { u } from './fake-server.ts';

test('a request has the bytes of the specification', () => {
  const bytes = Buffer.from(nbd.encodeRequest(nbd.COMMAND.blockStatus, 0x1_0000_0002, 0x12_3456_7890, 0x100000));
  assert.equal(bytes.toString('hex'), '256095130000000700000001000000020000001234567890' + '00100000');
});

test('an option has the bytes of the specification', () => {
  const go = nbd.encodeOption(nbd.OPTION.go, nbd.encodeGo('hd'));
  assert.equal(Buffer.from(go).toString('hex'), '49484156454f5054000000070000000a0000000268640001' + '0003');
  const contexts = Buffer.from(nbd.encodeMetaContexts('hd', ['a:b', 'c:d']));
  assert.equal(contexts.toString('hex'), '00000002686400000002' + '00000003613a62' + '00000003633a64');
});

test('offsets and cookies up to 2^53 survive', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (cookie, offset) => {
      const view = nbd.viewOf(nbd.encodeRequest(0, cookie, offset, 1));
      assert.equal(nbd.readU64(view, 8), cookie);
      assert.equal(nbd.readU64(view, 16), offset);
    }),
  );
});

test('a u64 above 2^53 is not taken for a smaller one', () => {
  assert.equal(nbd.readU64(nbd.viewOf(u([64, 2n ** 53n])), 0), Number.POSITIVE_INFINITY);
  assert.equal(nbd.readU64(nbd.viewOf(u([64, 2n ** 64n - 1n])), 0), Number.POSITIVE_INFINITY);
});

test('option replies: errors are told apart, a wrong magic is refused', () => {
  const reply = nbd.decodeOptionReply(u([64, nbd.OPTION_REPLY_MAGIC], [32, 7], [32, 0x80000006], [32, 5]));
  assert.deepEqual(reply, { option: 7, type: 6, isError: true, length: 5 });
  assert.equal(nbd.decodeOptionReply(u([64, 1], [32, 7], [32, 1], [32, 0])), undefined);
});

test('broken payloads decode to undefined', () => {
  assert.equal(nbd.decodeBlockStatus(u([32, 1])), undefined);
  assert.equal(nbd.decodeBlockStatus(u([32, 1], [32, 5])), undefined);
  assert.equal(nbd.decodeBlockStatus(u([32, 1], [32, 0], [32, 0])), undefined);
  assert.deepEqual(nbd.decodeBlockStatus(u([32, 1], [32, 5], [32, 3]))?.extents, new Uint32Array([5, 3]));
  assert.equal(nbd.decodeErrorChunk(u([32, 5])), undefined);
  assert.equal(nbd.decodeErrorChunk(u([32, 5], [16, 3])), undefined);
  assert.deepEqual(nbd.decodeErrorChunk(Buffer.concat([u([32, 5], [16, 2]), Buffer.from('no')])), {
    errno: 5,
    message: 'no',
  });
});

test('coverage: each byte once, in any order', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(lengths, fc.infiniteStream(fc.nat()), (sizes, order) => {
      let at = 0;
      const spans = sizes.map((size): [number, number] => {
        at += size;
        return [at - size, at];
      });
      const shuffled = spans.map((span) => ({ span, key: order.next().value })).sort((a, b) => a.key - b.key);
      const whole = new Coverage();
      for (const { span } of shuffled) whole.add(...span);
      assert.equal(whole.isWhole(at), true);
      const twice = new Coverage();
      for (const { span } of [...shuffled, shuffled[0]]) twice.add(...span);
      assert.equal(twice.isWhole(at), false);
      const gap = new Coverage();
      for (const { span } of shuffled.slice(1)) gap.add(...span);
      assert.equal(gap.isWhole(at), false);
    }),
  );
});
