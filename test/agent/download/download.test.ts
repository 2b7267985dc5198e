// A download is made while somebody asks for it: in slices, nothing in between, and it ends wherever it is.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Download, type DownloadTools } from '../../../src/agent/download/download.ts';
import { PART_BYTES } from '../../../src/agent/download/outlet.ts';
import { writeBytes } from '../../../src/agent/tree/browse/cat-file.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

const write = async ({ outlet: output, signal }: DownloadTools, bytes: Uint8Array): Promise<void> =>
  await writeBytes({ output, signal }, bytes);

/** Some turns of the event loop, in which work that nobody asked for would go on. */
async function idle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await setImmediate();
}

test('nothing is made before it is asked for, nor between two parts', async () => {
  let made = 0;
  const source = Array.from({ length: 10 }, () => randomBytes(PART_BYTES / 2));
  const download = new Download(async (tools) => {
    for (const bytes of source) {
      await tools.gate.pass();
      made++;
      await write(tools, bytes);
    }
  });
  await idle();
  assert.equal(made, 0);
  const parts: Uint8Array[] = [];
  for (let isLast = false; !isLast; ) {
    const part = await download.next();
    parts.push(part.bytes);
    isLast = part.isLast;
    assert.ok(part.bytes.length <= PART_BYTES);
    const before: number = made;
    assert.ok(before * (PART_BYTES / 2) - Buffer.concat(parts).length <= PART_BYTES, 'it runs ahead');
    await idle();
    assert.equal(made, before, 'it went on while nobody asked');
  }
  assert.ok(Buffer.concat(parts).equals(Buffer.concat(source)));
});

test('work without bytes leaves the thread to others after its time, and goes on with the next call', async () => {
  let steps = 0;
  const download = new Download(async (tools) => {
    for (; steps < 12; steps++) {
      await tools.gate.pass();
      const until = performance.now() + 10;
      while (performance.now() < until);
    }
    await write(tools, Buffer.from('done'));
  });
  const calls: number[] = [];
  let text = '';
  for (let isLast = false; !isLast; ) {
    const startedMs = performance.now();
    const part = await download.next();
    calls.push(performance.now() - startedMs);
    text += Buffer.from(part.bytes).toString();
    isLast = part.isLast;
    await idle();
  }
  assert.equal(text, 'done');
  assert.ok(calls.length >= 3, `${calls.length} calls for 120 ms of work`);
  assert.equal(steps, 12);
});

test('what fails is thrown from the call in which it failed, and again', async () => {
  const download = new Download(async (tools) => {
    await write(tools, randomBytes(PART_BYTES));
    await tools.gate.pass();
    throw new HoldfastError('object-damaged', 'lost');
  });
  assert.equal((await download.next()).isLast, false);
  for (let count = 0; count < 2; count++)
    await assert.rejects(
      () => download.next(),
      (error: HoldfastError) => error.code === 'object-damaged',
    );
});

test('an empty download ends with its first part', async () => {
  const part = await new Download(async () => {}).next();
  assert.deepEqual([part.bytes.length, part.isLast], [0, true]);
});

for (const place of ['at the gate', 'in a write'] as const) {
  test(`closed, it ends ${place}`, async () => {
    const seen: { ended?: unknown } = {};
    const download = new Download(async (tools) => {
      try {
        for (;;) {
          if (place === 'at the gate') {
            const until = performance.now() + 40;
            while (performance.now() < until);
            await tools.gate.pass();
          } else await write(tools, randomBytes(PART_BYTES / 2));
        }
      } catch (error) {
        seen.ended = error;
        throw error;
      }
    });
    await download.next();
    assert.equal('ended' in seen, false);
    download.close();
    await idle();
    assert.equal((seen.ended as HoldfastError).code, 'aborted');
  });
}

test('one that does not go on is given up, so that its thread is free', async () => {
  const download = new Download(() => new Promise(() => {}), 50);
  const startedMs = performance.now();
  await assert.rejects(
    () => download.next(),
    (error: HoldfastError) => error.code === 'object-damaged',
  );
  assert.ok(performance.now() - startedMs < 5000);
  await assert.rejects(() => download.next(), /does not go on/);
});
