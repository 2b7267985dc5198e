// The call `put` beside its sink: the end of a body that comes while records of it still wait, turns, and what is taken when.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FrameReader } from '../../../src/transport/server/frame-reader.ts';
import { LargeRecords } from '../../../src/transport/server/large-records.ts';
import { PutCall } from '../../../src/transport/server/put-call.ts';
import { RequestBody } from '../../../src/transport/server/request-body.ts';
import { framed } from './rig.ts';

const MAX = 16 << 20;

/** A sink that takes its time. */
function slowSink(ms: number) {
  const stored: Buffer[] = [];
  const putRecord = (record: Uint8Array): void => {
    stored.push(Buffer.from(record));
    for (const end = performance.now() + ms; performance.now() < end; );
  };
  return { stored, sink: { prepare: () => true, putRecord, markKnown: () => {} } };
}

function call(body: RequestBody, sink: ReturnType<typeof slowSink>['sink'], large = new LargeRecords(), session = 's') {
  const frames = new FrameReader(MAX);
  return new PutCall({ session, body, sink, frames, large, maxBytes: MAX }).run();
}

/** As a connection gives it: in pieces of 16 KiB that lie in one buffer, four of them whether it rests or not. */
function bodyOf(bytes: Buffer): RequestBody {
  const buffer = Buffer.alloc(16 << 10);
  let at = 0;
  const read = (): void => {
    while (at < bytes.length && !body.isPaused)
      for (let piece = 0; piece < 4 && at < bytes.length; piece++) {
        const length = bytes.copy(buffer, 0, at, at + buffer.length);
        at += length;
        body.give(buffer.subarray(0, length));
        buffer.fill(0xee);
      }
    if (at === bytes.length && !body.isWhole) body.finish();
  };
  const body = new RequestBody(() => void setImmediate(read));
  return body;
}

test('a body that has ended while its records wait for their turn is taken over to its last record', async () => {
  const records = Array.from({ length: 7 }, (_, n) => Buffer.alloc(100, n));
  const { stored, sink } = slowSink(5);
  assert.equal(await call(bodyOf(framed(records)), sink), 7);
  assert.deepEqual(stored, records);
});

test('records of others come in between: a turn is short in time and in bytes', async () => {
  for (const [bytes, ms] of [
    [100, 5],
    [700_000, 0],
  ] as const) {
    const { stored, sink } = slowSink(ms);
    const running = call(bodyOf(framed(Array(8).fill(Buffer.alloc(bytes)))), sink);
    const seen = new Set<number>();
    while (stored.length < 8) {
      seen.add(stored.length);
      await nextTurn();
    }
    assert.equal(await running, 8);
    assert.ok(seen.size >= 4, `${[...seen]} of records of ${bytes} bytes`);
  }
});

test('long records wait for a place, one of each session, in their order', async () => {
  const large = new LargeRecords();
  const entered: string[] = [];
  const leave = ['a', 'a', 'b', 'c', 'd', 'e'].map((session) => large.take(session, () => entered.push(session)));
  assert.deepEqual(entered, ['a', 'b', 'c', 'd']);
  const records = [Buffer.alloc(10), randomBytes(2 << 20), Buffer.alloc(10)];
  const body = framed(records);
  const { stored, sink } = slowSink(0);
  const running = call(bodyOf(body), sink, large, 'f');
  for (let turns = 0; turns < 20; turns++) await nextTurn();
  assert.equal(stored.length, 1);
  leave[5]!();
  leave[2]!();
  leave[2]!();
  leave[0]!();
  assert.deepEqual(entered, ['a', 'b', 'c', 'd', 'a']);
  assert.equal(await running, 3);
  assert.deepEqual(stored, records);
});

test('a line that breaks ends the call, and gives up its place', async () => {
  const large = new LargeRecords();
  const { sink } = slowSink(0);
  const body = new RequestBody(() => {});
  const running = call(body, sink, large);
  body.give(framed([Buffer.alloc(2 << 20)]).subarray(0, 1000));
  await nextTurn();
  body.lose();
  await assert.rejects(running, { code: 'aborted' });
  let hasEntered = false;
  large.take('s', () => {
    hasEntered = true;
  });
  assert.ok(hasEntered);
});
