// The list of a node's guests while some of their QEMUs hang: they are looked at side by side, and nobody waits for more than one answer.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, suite, test } from 'node:test';
import { createVm } from '../../../src/guests/vm/create.ts';
import { lookAtMachine } from '../../../src/guests/vm/machine-state.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { listVms } from '../../../src/guests/vm/status.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport, TestNode } from '../../support/guests/vm-node.ts';

const SETTINGS = { cores: '1', memory: '64', vga: 'none', balloon: '0', kvm: '0', tablet: '0' };
const ANSWER_MS = 5_000;
const skip = await reasonToSkipGuest();

suite('the list of guests', { skip, timeout: 60_000 }, () => {
  const report = new KeptReport();
  const hung = [parseGuestId(7401), parseGuestId(7402)];
  const well = parseGuestId(7403);
  const stopped = parseGuestId(7404);
  let place: TestNode;
  const pids: number[] = [];

  before(async () => {
    place = await TestNode.create();
    for (const id of [...hung, well, stopped]) await createVm(place.node, id, SETTINGS, {}, report);
    for (const id of [...hung, well]) await startVm(place.node, id, { paused: 'unmarked' }, report);
    for (const id of hung) {
      const { pid } = await lookAtMachine(place.node, id);
      process.kill(pid as number, 'SIGSTOP');
      pids.push(pid as number);
    }
  });

  after(async () => {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
    await place?.remove();
  });

  test('two that hang cost the time of one, and are told as silent', async () => {
    const began = performance.now();
    const all = await listVms(place.node, assert.fail);
    const tookMs = performance.now() - began;
    assert.deepEqual(
      all.map(({ vmid, status, qmpStatus }) => [vmid, status, qmpStatus]),
      [
        [7401, 'running', 'silent'],
        [7402, 'running', 'silent'],
        [7403, 'running', 'prelaunch'],
        [7404, 'stopped', 'stopped'],
      ],
    );
    assert.ok(tookMs < 1.8 * ANSWER_MS, `${tookMs} ms`);
  });

  test('a list that nobody waits for ends', async () => {
    const stop = new AbortController();
    const listing = listVms(place.node, assert.fail, { signal: stop.signal });
    setTimeout(() => stop.abort(), 100);
    const began = performance.now();
    await assert.rejects(listing, { name: 'AbortError' });
    assert.ok(performance.now() - began < ANSWER_MS / 2);
  });

  test('a configuration that cannot be read is told and left out', async () => {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
    await writeFile(`${place.path}/qemu-server/7405.conf`, 'no line of ours\n');
    const told: string[] = [];
    const all = await listVms(place.node, (line) => told.push(line));
    assert.deepEqual(
      all.map(({ vmid }) => vmid),
      [7401, 7402, 7403, 7404],
    );
    assert.match(told.join('\n'), /^VM 7405: .*cannot be read/);
  });
});
