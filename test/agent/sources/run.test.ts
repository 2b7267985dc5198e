import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from '../../../src/util/run.ts';

test('output, input and the environment of messages', async () => {
  assert.deepEqual(await run('sh', ['-c', 'cat; echo "$LC_ALL" >&2'], { input: 'in' }), {
    stdout: 'in',
    stderr: 'C\n',
  });
  assert.deepEqual(await run('cat', []), { stdout: '', stderr: '' });
});

test('a program that does not read its input', async () => {
  assert.equal((await run('true', [], { input: Buffer.alloc(4 << 20) })).stdout, '');
});

test("a status other than 0 is an error with the program's words", async () => {
  await assert.rejects(
    run('sh', ['-c', 'echo no luck >&2; exit 3']),
    (error: { code: string; message: string; data: Record<string, unknown> }) => {
      assert.equal(error.code, 'source-failed');
      assert.match(error.message, /sh ended with status 3: no luck/);
      assert.equal(error.data.status, 3);
      return true;
    },
  );
  await assert.rejects(run('sh', ['-c', 'kill -9 $$'], { failure: 'target-failed' }), {
    code: 'target-failed',
    message: /signal SIGKILL/,
  });
});

test('a missing program names its Debian package', async () => {
  const previous = process.env.PATH;
  process.env.PATH = '/nowhere';
  try {
    await assert.rejects(run('qemu-img', []), {
      code: 'tool-missing',
      message: /qemu-img is not installed; install the Debian package qemu-utils/,
    });
  } finally {
    process.env.PATH = previous;
  }
});

test('time, output and abort are bounds', async () => {
  await assert.rejects(run('sleep', ['60'], { timeoutMs: 50 }), { code: 'timed-out' });
  await assert.rejects(run('yes', [], { maxOutputBytes: 10_000 }), { code: 'too-large' });
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 50);
  await assert.rejects(run('sleep', ['60'], { signal: controller.signal }), { code: 'aborted' });
  await assert.rejects(run('sleep', ['60'], { signal: controller.signal }), { code: 'aborted' });
  assert.equal((await run('sh', ['-c', 'yes | head -c 1000000 >&2'])).stderr.length < 200_000, true);
});
