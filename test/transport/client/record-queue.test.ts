// The order in which records leave: whatever threads hand over, and however bodies are answered, children are there first.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createCodec } from '../../../src/chunker/create-codec.ts';
import { Kind } from '../../../src/chunker/object.ts';
import { readRecordHeader, recordRefs } from '../../../src/chunker/record.ts';
import { eachFrame, idKey } from '../../../src/transport/client/frames.ts';
import { RecordQueue, type Run } from '../../../src/transport/client/record-queue.ts';
import { frame } from './memory-server.ts';

const codec = createCodec(undefined);

function record(kind: number, refs: readonly Buffer[], payload: Buffer): { id: Buffer; bytes: Buffer } {
  const named = Buffer.concat(refs);
  const id = Buffer.from(codec.id(kind, named, payload));
  const target = Buffer.alloc(codec.recordBound(named.length, payload.length));
  const length = codec.encode(target, { kind, id, refs: named, payload });
  return { id, bytes: target.subarray(0, length) };
}

const frames = (...records: { bytes: Buffer }[]): Uint8Array =>
  Buffer.concat(records.flatMap((each) => frame(each.bytes)));
const ids = (runs: readonly Run[] | undefined): string[] =>
  (runs ?? []).flatMap((run) => run.ids.map((id) => Buffer.from(id, 'latin1').toString('hex')));
const hex = (...records: { id: Buffer }[]): string[] => records.map(({ id }) => id.toString('hex'));

test('a page leaves with its chunks when they are in the same body', () => {
  const chunk = record(Kind.data, [], Buffer.from('chunk'));
  const page = record(Kind.page, [chunk.id], Buffer.from('page'));
  const queue = new RecordQueue();
  queue.add([{ owner: 0, frames: frames(chunk, page) }]);
  const body = queue.take(1e6) as Run[];
  assert.deepEqual(ids(body), hex(chunk, page));
  assert.ok(!queue.isEmpty);
  queue.answered(body);
  assert.ok(queue.isEmpty && !queue.has(idKey(chunk.id)));
});

test('a page waits for a chunk that is on its way in another body', () => {
  const chunk = record(Kind.data, [], Buffer.from('chunk'));
  const page = record(Kind.page, [chunk.id], Buffer.from('page'));
  const queue = new RecordQueue();
  queue.add([{ owner: 0, frames: frames(chunk) }]);
  const first = queue.take(1e6) as Run[];
  queue.add([{ owner: 1, frames: frames(page) }]);
  assert.equal(queue.take(1e6), undefined);
  queue.answered(first);
  assert.deepEqual(ids(queue.take(1e6)), hex(page));
});

test('what several threads handed over at once is looked at as one', () => {
  const chunk = record(Kind.data, [], Buffer.from('chunk'));
  const page = record(Kind.page, [chunk.id], Buffer.from('page'));
  const queue = new RecordQueue();
  queue.add([
    { owner: 1, frames: frames(page) },
    { owner: 0, frames: frames(chunk) },
  ]);
  assert.deepEqual(ids(queue.take(1e6)), hex(chunk));
  assert.equal(queue.take(1e6), undefined);
});

test('a page that names what nobody handed over leaves at once: the server knows it', () => {
  const page = record(Kind.page, [Buffer.alloc(32, 1)], Buffer.from('page'));
  const queue = new RecordQueue();
  queue.add([{ owner: 0, frames: frames(page) }]);
  assert.deepEqual(ids(queue.take(1e6)), hex(page));
});

test('a body is as large as it may be, and a larger record goes alone', () => {
  const random = (seed: number) => Buffer.from(Array.from({ length: 3000 }, (_, at) => (at * seed * 7919) >> 3));
  const [a, b, c] = [1, 2, 3].map((seed) => record(Kind.page, [Buffer.alloc(32, seed)], random(seed)));
  const queue = new RecordQueue();
  queue.add([{ owner: 0, frames: frames(a, b, c) }]);
  const two = a.bytes.length + b.bytes.length + 8;
  assert.deepEqual(ids(queue.take(two)), hex(a, b));
  assert.deepEqual(ids(queue.take(10)), hex(c));
});

test('property: any graph, any owners, any answers: children are first, and all arrives', () => {
  const node = fc.record({ kids: fc.array(fc.nat(), { maxLength: 4 }), owner: fc.nat(3), isData: fc.boolean() });
  const plan = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 2000 }), answers: fc.nat(5) }), { maxLength: 40 });
  fc.assert(
    fc.property(fc.array(node, { minLength: 1, maxLength: 60 }), plan, fc.nat(7), (nodes, steps, perBatch) => {
      const records: { id: Buffer; bytes: Buffer; owner: number }[] = [];
      for (const [place, { kids, owner, isData }] of nodes.entries()) {
        const refs = isData || place === 0 ? [] : kids.map((kid) => records[kid % place].id);
        const kind = refs.length === 0 ? Kind.data : Kind.page;
        records.push({ ...record(kind, refs, Buffer.from(`object ${place % 50}`)), owner });
      }
      const queue = new RecordQueue();
      const arrived = new Set<string>();
      const sent = new Set<string>();
      const onTheWay: Run[][] = [];
      const answer = (place: number): void => {
        const [body] = onTheWay.splice(place, 1);
        const inBody = new Set<string>();
        for (const run of body) {
          for (const each of eachFrame(run.frames)) {
            const header = readRecordHeader(each.record);
            assert.ok(header !== undefined);
            const refs = recordRefs(each.record, header);
            for (let at = 0; at < refs.length; at += 32) {
              const ref = idKey(refs, at);
              assert.ok(!sent.has(ref) || arrived.has(ref) || inBody.has(ref), 'a child was not there');
            }
            inBody.add(idKey(each.record, 24));
          }
        }
        for (const id of inBody) arrived.add(id);
        queue.answered(body);
      };
      const take = (bytes: number): void => {
        const body = queue.take(bytes);
        if (body !== undefined) onTheWay.push(body);
      };
      for (const { id } of records) sent.add(idKey(id));
      let next = 0;
      for (const { bytes, answers } of steps) {
        const batch = records.slice(next, next + perBatch);
        next += perBatch;
        queue.add(batch.map((each) => ({ owner: each.owner, frames: frames(each) })));
        take(bytes);
        if (onTheWay.length > 0 && answers > 2) answer(answers % onTheWay.length);
      }
      queue.add(records.slice(next).map((each) => ({ owner: each.owner, frames: frames(each) })));
      for (let turns = 0; !queue.isEmpty; turns++) {
        assert.ok(turns < 1000, 'nothing moves');
        take(500);
        if (onTheWay.length > 0) answer(onTheWay.length - 1);
      }
      assert.deepEqual([...arrived].sort(), [...sent].sort());
    }),
    { numRuns: 300 },
  );
});
