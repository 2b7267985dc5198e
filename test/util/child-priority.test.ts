// Programs do not take over what the main thread was raised by; what it was lowered by they do, but for guests.
import assert from 'node:assert/strict';
import { getPriority, setPriority } from 'node:os';
import { test } from 'node:test';
import { run } from '../../src/util/run.ts';

const skip = process.getuid?.() === 0 ? false : 'only root may raise a priority';
const usual = getPriority(process.pid);

/** Niceness of a program that `run` starts, a moment after its start, while the main thread has this one. */
async function nicenessOfChild(mainThread: number): Promise<number> {
  setPriority(process.pid, mainThread);
  try {
    return Number((await run('sh', ['-c', 'sleep 0.2; nice'])).stdout);
  } finally {
    setPriority(process.pid, usual);
  }
}

test('a program is not raised with the main thread', { skip }, async () => {
  assert.equal(await nicenessOfChild(usual - 10), usual);
});

test('a program goes after others with the main thread', { skip }, async () => {
  assert.equal(await nicenessOfChild(usual + 10), usual + 10);
});
