// A download's stream asks for what is taken, and for nothing more; slow, gone and cheated callers end it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DownloadPart } from '../../../src/agent/download/download.ts';
import { PART_BYTES } from '../../../src/agent/download/outlet.ts';
import { DownloadStream } from '../../../src/api/downloads/download-stream.ts';
import type { HoldfastError } from '../../../src/util/errors.ts';

/** A thread that gives these parts, one after the other, and counts what it is asked. */
class Thread {
  asked = 0;
  closed = 0;
  ended = 0;
  readonly #parts: (DownloadPart | Error)[];

  constructor(parts: readonly (DownloadPart | Error)[]) {
    this.#parts = [...parts];
  }

  async call<Result>(_thread: number, method: string): Promise<Result> {
    if (method === 'download.close') {
      this.closed++;
      return undefined as Result;
    }
    this.asked++;
    const part = this.#parts.shift();
    if (part instanceof Error) throw part;
    return part as Result;
  }

  begin(sizeBytes?: number, idleMs = 60_000): Promise<DownloadStream> {
    const onEnd = (): void => {
      this.ended++;
    };
    return DownloadStream.begin({ pool: this, thread: 0, download: 1, sizeBytes, idleMs, onEnd });
  }
}

const part = (bytes: number, isLast = false): DownloadPart => ({ bytes: new Uint8Array(bytes).fill(7), isLast });

async function lengthOf(stream: DownloadStream): Promise<number> {
  let length = 0;
  for await (const bytes of stream) length += (bytes as Buffer).length;
  return length;
}

test('all parts come, empty ones and one at the end too, and it is closed once', async () => {
  for (const parts of [[part(10), part(0), part(0), part(20, true)], [part(30), part(0, true)], [part(30, true)]]) {
    const thread = new Thread(parts);
    assert.equal(await lengthOf(await thread.begin(30)), 30);
    await sleep(5);
    assert.deepEqual([thread.closed, thread.ended, thread.asked], [1, 1, parts.length]);
  }
  const empty = new Thread([part(0, true)]);
  assert.equal(await lengthOf(await empty.begin(0)), 0);
});

test('a caller who takes nothing has one part made beside the first', async () => {
  const thread = new Thread(Array.from({ length: 10 }, () => part(PART_BYTES)));
  const stream = await thread.begin();
  stream.on('readable', () => {});
  await sleep(50);
  assert.ok(thread.asked <= 2, `${thread.asked} parts were asked for`);
  stream.destroy();
});

test('a caller who takes nothing for too long is cut off', async () => {
  const thread = new Thread([part(PART_BYTES), part(PART_BYTES), part(1, true)]);
  const stream = await thread.begin(undefined, 50);
  const failed = new Promise<HoldfastError>((resolve) =>
    stream.once('error', (error) => resolve(error as HoldfastError)),
  );
  stream.once('readable', () => {});
  assert.equal((await failed).code, 'timed-out');
  await sleep(5);
  assert.deepEqual([thread.closed, thread.ended], [1, 1]);
});

test('one who takes each part in time may take long for all', async () => {
  const thread = new Thread([...Array.from({ length: 6 }, () => part(PART_BYTES)), part(1, true)]);
  const stream = await thread.begin(undefined, 100);
  let length = 0;
  for await (const bytes of stream) {
    length += (bytes as Buffer).length;
    await sleep(40);
  }
  assert.equal(length, 6 * PART_BYTES + 1);
});

test('the last parts, which are made at once, have the time of each', async () => {
  const thread = new Thread([part(PART_BYTES), part(PART_BYTES, true)]);
  const stream = await thread.begin(undefined, 400);
  stream.once('readable', () => {});
  await sleep(600);
  assert.equal(thread.asked, 2);
  assert.equal(await lengthOf(stream), 2 * PART_BYTES);
});

test('what fails before the first byte is an answer, later it ends the stream; both let go', async () => {
  const first = new Thread([new Error('lost')]);
  await assert.rejects(() => first.begin(), /lost/);
  assert.deepEqual([first.closed, first.ended], [1, 1]);
  const later = new Thread([part(PART_BYTES), part(PART_BYTES), new Error('lost')]);
  const stream = await later.begin();
  await assert.rejects(() => lengthOf(stream), /lost/);
  await sleep(5);
  assert.deepEqual([later.closed, later.ended], [1, 1]);
});

test('more or fewer bytes than were announced end it, before a byte too much is out', async () => {
  for (const parts of [
    [part(10), part(11, true)],
    [part(10), part(11), part(1, true)],
    [part(10), part(9, true)],
  ]) {
    const thread = new Thread(parts);
    const stream = await thread.begin(20);
    let length = 0;
    await assert.rejects(
      async () => {
        for await (const bytes of stream) length += (bytes as Buffer).length;
      },
      (error: HoldfastError) => error.code === 'object-damaged',
    );
    assert.ok(length <= 20);
  }
});

test('who goes away ends it', async () => {
  const thread = new Thread([part(PART_BYTES), part(PART_BYTES), part(PART_BYTES)]);
  const stream = await thread.begin();
  for await (const _ of stream) break;
  await sleep(5);
  assert.deepEqual([stream.destroyed, thread.closed, thread.ended], [true, 1, 1]);
});
