// What a guest leaves on the host: taps, control group, TPM. In a network namespace of its own (on-bridge.ts).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';

const skip = (await reasonToSkipGuest('ip', 'unshare')) || reasonForTaps();

function reasonForTaps(): string | false {
  const probe = ['-n', 'ip', 'tuntap', 'add', 'dev', 'tap1i0', 'mode', 'tap'];
  const { status, stderr } = spawnSync('unshare', probe, { encoding: 'utf8' });
  return status !== 0 && `no network namespaces with taps here: ${stderr.trim()}`;
}

test('in a network namespace', { skip, timeout: 180_000 }, () => {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const program = fileURLToPath(new URL('on-bridge.ts', import.meta.url));
  const cwd = fileURLToPath(new URL('../../../', import.meta.url));
  const args = ['-n', process.execPath, '--import', 'tsx', '--test-reporter=spec', program];
  const { status, stdout, stderr } = spawnSync('unshare', args, { encoding: 'utf8', env, cwd, timeout: 170_000 });
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  assert.match(stdout, /pass 4/);
});
