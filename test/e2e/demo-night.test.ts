// `node scripts/demo.mjs --night`: a night of jobs with its mail, two that were missed, and an alarm; it leaves nothing behind.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { reasonForTools } from '../support/power-cut/scratch.ts';

const skip = reasonForTools('faketime', 'qemu-system-x86_64', 'qemu-img', 'mke2fs', 'debugfs');

test('the night of the demo: every check holds, and nothing of it is left', { skip, timeout: 240_000 }, async (t) => {
  const work = mkdtempSync(join(tmpdir(), 'demo-test-'));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  const demo = spawn('node', ['scripts/demo.mjs', '--night'], { env: { ...process.env, TMPDIR: work, TZ: 'UTC' } });
  let output = '';
  for (const stream of [demo.stdout, demo.stderr])
    stream.on('data', (bytes: Buffer) => {
      output += bytes.toString();
    });
  const [code] = (await once(demo, 'close')) as [number];
  assert.equal(code, 0, output);
  assert.doesNotMatch(output, /FAILED|DIFFERENT|left out: |are left out/);
  assert.match(output, /\| Subject: Backups of .*: 7 well\n[\s\S]*\| Subject: Backups of .*: nothing ran\n/);
  assert.match(output, /\| Subject: main: vm\/9204 has no good backup since 60 hours\n/);
  assert.deepEqual(readdirSync(work), []);
});
