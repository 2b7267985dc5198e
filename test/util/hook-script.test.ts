// Scripts of the administrator: who may have written them, what they get, and how they end.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireHookScript, runHookScript } from '../../src/util/hook-script.ts';

suite('hook scripts', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hf-hook-'));
  after(() => rmSync(directory, { recursive: true, force: true }));

  function script(name: string, text: string, mode = 0o755): string {
    const path = join(directory, name);
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, mode);
    return path;
  }

  async function lines(path: string, more: Partial<Parameters<typeof runHookScript>[0]> = {}): Promise<string[]> {
    const told: string[] = [];
    await runHookScript({ path, args: ['p', 'a b;$(id)'], environment: {}, log: (line) => told.push(line), ...more });
    return told;
  }

  test('only a file that nobody else may change is run', async () => {
    const good = script('good', 'exit 0');
    assert.equal(await requireHookScript(good), good);
    const link = join(directory, 'link');
    symlinkSync(good, link);
    assert.equal(await requireHookScript(link), good);
    await assert.rejects(requireHookScript('good'), { code: 'bad-argument', message: /absolute/ });
    await assert.rejects(requireHookScript(join(directory, 'none')), { code: 'not-found' });
    await assert.rejects(requireHookScript(directory), { code: 'bad-argument', message: /no file/ });
    for (const mode of [0o775, 0o757])
      await assert.rejects(requireHookScript(script('open', 'exit 0', mode)), {
        code: 'bad-argument',
        message: /others/,
      });
    await assert.rejects(requireHookScript(script('idle', 'exit 0', 0o600)), {
      code: 'bad-argument',
      message: /chmod u\+x/,
    });
    const wide = join(directory, 'wide');
    mkdirSync(wide);
    chmodSync(wide, 0o777);
    await assert.rejects(requireHookScript(script('wide/x', 'exit 0')), { code: 'bad-argument', message: /others/ });
    chmodSync(wide, 0o1777);
    await requireHookScript(join(wide, 'x'));
  });

  test('a script of another user is refused', { skip: process.getuid?.() !== 0 && 'needs root' }, async () => {
    const path = script('theirs', 'exit 0');
    chownSync(path, 65_534, 65_534);
    await assert.rejects(requireHookScript(path), { code: 'bad-argument', message: /another user/ });
  });

  test('it gets its arguments as they are and only the variables that are named; its lines are told', async () => {
    process.env.HOLDFAST_TEST_SECRET = 'hidden';
    const path = script('say', 'echo "$1|$2|$OURS|$HOLDFAST_TEST_SECRET"; echo wrong >&2; printf "no end"');
    const told = await lines(path, { environment: { OURS: 'x' } });
    delete process.env.HOLDFAST_TEST_SECRET;
    assert.deepEqual(told.sort(), ['no end', 'p|a b;$(id)|x|', 'wrong']);
  });

  test('a status is an error; long and many lines are cut', async () => {
    await assert.rejects(lines(script('fail', 'exit 3')), { code: 'source-failed', message: /p ended with status 3/ });
    const told = await lines(script('much', 'seq 5000; head -c 5000 /dev/zero | tr "\\0" x'));
    assert.equal(told.length, 1001);
    assert.match(told[1000] as string, /rest is left out/);
  });

  test('one that takes too long is killed with what it started', async () => {
    const mark = join(directory, 'mark');
    const path = script('slow', `(sleep 1; touch ${mark}) & sleep 60`);
    await assert.rejects(lines(path, { timeoutMs: 200 }), { code: 'timed-out' });
    await sleep(1200);
    assert.ok(!existsSync(mark), 'its child goes too');
    await assert.rejects(lines(path, { signal: AbortSignal.timeout(100) }), { code: 'aborted' });
  });

  test('what it leaves in the background keeps nobody waiting', async () => {
    const started = performance.now();
    await lines(script('daemon', 'sleep 20 & exit 0'));
    assert.ok(performance.now() - started < 10_000);
  });
});
