// `npm run demo`, small: every check that it makes holds, its table is whole, and it leaves nothing behind.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';

const missing = ['/usr/sbin/mke2fs', '/sbin/mke2fs'].some((path) => spawnSync(path, ['-V']).status === 0)
  ? false
  : 'mke2fs is missing: apt-get install -y e2fsprogs';

suite('scripts/demo.mjs --small', { skip: missing }, () => {
  let work: string;
  before(() => {
    work = mkdtempSync(join(tmpdir(), 'demo-test-'));
  });
  after(() => rmSync(work, { recursive: true, force: true }));

  const start = () => spawn('node', ['scripts/demo.mjs', '--small'], { env: { ...process.env, TMPDIR: work } });

  test('shows the data path and the keeping of a store, and finds every restore identical', {
    timeout: 300_000,
  }, async () => {
    const demo = start();
    let output = '';
    for (const stream of [demo.stdout, demo.stderr]) {
      stream.on('data', (bytes: Buffer) => {
        output += bytes.toString();
      });
    }
    const [code] = (await once(demo, 'close')) as [number];
    assert.equal(code, 0, output);
    const table = output.slice(output.indexOf('\nstep '));
    assert.equal(table.match(/ identical$/gm)?.length, 11, output);
    assert.match(table, /^backup of version 3, killed /m);
    assert.doesNotMatch(output, /FAILED|DIFFERENT/);
    assert.match(output, /a virtual machine is not part of --small: npm run demo/);
    assert.deepEqual(readdirSync(work), []);
  });

  test('Ctrl-C stops it, and its directory is gone', { timeout: 60_000 }, async () => {
    const demo = start();
    await once(demo.stdout, 'data');
    demo.kill('SIGINT');
    const [code] = (await once(demo, 'close')) as [number];
    assert.equal(code, 130);
    assert.deepEqual(readdirSync(work), []);
  });
});
