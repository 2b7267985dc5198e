// Programs do not take over what the main thread was raised by; what it was lowered by they do, but for guests.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { test } from 'node:test';
import { asAnyProgram } from '../../src/util/child-priority.ts';
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

test('a program that has threads already is like any other with all of them', { skip }, async () => {
  setPriority(process.pid, 10);
  const child = spawn(process.execPath, ['-e', 'console.log("ready"); setTimeout(() => {}, 60_000)'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(child.stdout, 'data');
    assert.deepEqual(nicenessOfThreads(child.pid), new Set([10]));
    asAnyProgram(child);
    assert.deepEqual(nicenessOfThreads(child.pid), new Set([0]));
  } finally {
    setPriority(process.pid, usual);
    child.kill('SIGKILL');
  }
});

function nicenessOfThreads(pid: number | undefined): Set<number> {
  const threads = readdirSync(`/proc/${pid}/task`);
  assert.ok(threads.length > 1, 'it has started threads');
  return new Set(threads.map((thread) => getPriority(Number(thread))));
}
