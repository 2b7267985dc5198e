// Whether a fleece's daemon is there is told by its socket alone: its process may wait for a dead storage and answer nothing.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isServed } from '../../../src/agent/qemu/fleece.ts';

test('a socket that somebody listens on is served, one that a killed process left is not', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'hft-served-'));
  const path = join(directory, 'fleece.nbd');
  try {
    assert.equal(await isServed(directory), false);
    const listen = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', listen]);
    assert.equal(await isServed(directory), false, 'what was left');
    rmSync(path);
    const server = createServer().listen(path);
    await new Promise((done) => server.once('listening', done));
    assert.equal(await isServed(directory), true);
    server.close();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
