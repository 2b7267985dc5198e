// The last bytes of an answer: until they are out it holds its place, and a caller who never takes them is cut off.
import assert from 'node:assert/strict';
import { Readable, Writable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import { ByteAnswer } from '../../../src/api/downloads/byte-answer.ts';
import { sendBytes } from '../../../src/api/downloads/send-bytes.ts';

/** A connection whose other end takes bytes when it is told to. */
class Line extends Writable {
  readonly sent: Buffer[] = [];
  #waiting: (() => void) | undefined;
  #isOpen = false;

  take(): void {
    this.#isOpen = true;
    this.#waiting?.();
  }

  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    this.sent.push(bytes);
    if (this.#isOpen) done();
    else this.#waiting = done;
  }
}

function replyOf(raw: Line): FastifyReply {
  const reply = {
    raw,
    code: () => reply,
    type: () => reply,
    header: () => reply,
    send: async (stream: Readable) => void stream.pipe(raw),
  };
  return reply as unknown as FastifyReply;
}

function answer(text: string): { bytes: ByteAnswer; sent: () => number } {
  let sent = 0;
  const bytes = new ByteAnswer(Readable.from([Buffer.from(text)]), { type: 'text/plain' }, () => sent++);
  return { bytes, sent: () => sent };
}

test('an answer is sent when its last byte was taken, not when it was made', async () => {
  const line = new Line();
  const { bytes, sent } = answer('text');
  await sendBytes(replyOf(line), 'json', bytes);
  await sleep(20);
  assert.deepEqual([bytes.stream.readableEnded, sent()], [true, 0]);
  line.take();
  await sleep(20);
  assert.equal(sent(), 1);
});

test('who never takes the end is cut off, and the place is free', async () => {
  const line = new Line();
  const cut: Error[] = [];
  const { bytes, sent } = answer('text');
  await sendBytes(replyOf(line), 'json', bytes, { lastBytesMs: 50, onCut: (error) => cut.push(error) });
  await sleep(10);
  assert.deepEqual([line.destroyed, sent()], [false, 0]);
  await sleep(150);
  assert.deepEqual([line.destroyed, sent(), cut.length], [true, 1, 1]);
});

test('a caller who is gone before the answer ends what was begun for it', async () => {
  const line = new Line();
  line.destroy();
  const { bytes, sent } = answer('text');
  await sendBytes(replyOf(line), 'json', bytes);
  assert.deepEqual([bytes.stream.destroyed, sent()], [true, 1]);
});

test('rows stand in the envelope that was asked for', async () => {
  for (const [format, wanted] of [
    ['json', '{"data":[{"a":1}]}'],
    ['extjs', '{"success":true,"status":200,"data":[{"a":1}]}'],
  ] as const) {
    const line = new Line();
    line.take();
    const rows = new ByteAnswer(Readable.from([Buffer.from('{"a":1}')]), { type: 'application/json', isRows: true });
    await sendBytes(replyOf(line), format, rows);
    await sleep(20);
    assert.equal(Buffer.concat(line.sent).toString(), wanted);
  }
});

test('rows that nobody had begun to read end with their caller', async () => {
  const line = new Line();
  const rows = new Readable({ read: () => {} });
  const reply = replyOf(line);
  // The answer is handed over, and nothing of it is asked for.
  (reply as { send: unknown }).send = async () => undefined;
  await sendBytes(reply, 'json', new ByteAnswer(rows, { type: 'application/json', isRows: true }));
  line.destroy();
  await sleep(20);
  assert.equal(rows.destroyed, true);
});
