// The real agent, run on this host, with commands that change nothing: a freeze would freeze the machine that the tests run on.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { GuestAgent } from '../../../src/guests/qmp/guest-agent.ts';
import { scratch, startListening } from './qemu-monitor.ts';

const PROGRAM = '/usr/sbin/qemu-ga';
const skip = !existsSync(PROGRAM) && 'not installed here: qemu-guest-agent';

test('the real agent comes in step, answers and refuses', { skip }, async (t) => {
  const state = scratch(t);
  const forbidden =
    'guest-fsfreeze-freeze,guest-fsfreeze-freeze-list,guest-shutdown,guest-suspend-disk,guest-suspend-ram';
  const args = ['-m', 'unix-listen', '-p', 'SOCKET', '-t', state, '-f', join(state, 'pid'), '-b', forbidden];
  const { socketPath } = await startListening(t, PROGRAM, args);
  const agent = await GuestAgent.connect(socketPath, { label: 'VM 101' });
  t.after(() => agent.close());
  await agent.ping();
  assert.equal(await agent.freezeStatus(), 'thawed');
  await assert.rejects(agent.execute('guest-no-such'), {
    code: 'guest-failed',
    message: /guest-no-such has not been found/,
  });
  // Refused by its configuration; what follows is answered as before.
  await assert.rejects(agent.shutdown('powerdown'), { code: 'guest-failed' });
  assert.equal(await agent.freezeStatus(), 'thawed');
  // It may be quicker than that; if not, its late answer is nobody's.
  await agent
    .execute('guest-ping', {}, { timeoutMs: 0 })
    .catch((error: { code?: string }) => assert.equal(error.code, 'timed-out'));
  assert.equal(await agent.freezeStatus(), 'thawed');
});
