// File systems that a killed operation left frozen: the marker tells, and what the agent says decides.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type GuestNode, openGuestNode } from '../../../src/guests/guest-node.ts';
import { undoForgotten } from '../../../src/guests/vm/held-still.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';
import { isThere } from '../../../src/util/is-there.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { FakeAgent } from '../qmp/fake-agent.ts';

const id = parseGuestId(101);

interface Place {
  readonly node: GuestNode;
  readonly marker: string;
}

/** A node whose guest's agent listens at `agentPath`. */
async function placeWith(t: TestContext, agentPath: string, marked = true): Promise<Place> {
  const path = mkdtempSync(join(tmpdir(), 'hf-thaw-'));
  const node = await openGuestNode(path);
  t.after(() => {
    rmSync(path, { recursive: true, force: true });
    rmSync(node.directory.runPath, { recursive: true, force: true });
  });
  await node.directory.prepare(id);
  const { frozenMarker, guestAgent } = node.directory.run(id);
  symlinkSync(agentPath, guestAgent);
  if (marked) writeFileSync(frozenMarker, '');
  return { node, marker: frozenMarker };
}

test('what is frozen is thawed, and told', async (t) => {
  const agent = await FakeAgent.start(t);
  agent.frozen = true;
  const { node, marker } = await placeWith(t, agent.socketPath);
  const report = new KeptReport();
  await undoForgotten(node, id, report);
  assert.equal(agent.frozen, false);
  assert.equal(await isThere(marker), false);
  assert.match(report.warnings.join('\n'), /^2 file systems .*thawed$/);
});

test('what is not frozen any more is nothing to tell of', async (t) => {
  const agent = await FakeAgent.start(t);
  const { node, marker } = await placeWith(t, agent.socketPath);
  const report = new KeptReport();
  await undoForgotten(node, id, report);
  assert.equal(await isThere(marker), false);
  assert.deepEqual(report.warnings, []);
});

test('without the marker nobody is asked', async (t) => {
  const agent = await FakeAgent.start(t);
  agent.frozen = true;
  const { node } = await placeWith(t, agent.socketPath, false);
  await undoForgotten(node, id, new KeptReport());
  assert.deepEqual(agent.done, []);
});

test('an agent that is not there is a warning, and the marker stays for the next', async (t) => {
  const { node, marker } = await placeWith(t, '/nowhere/agent.sock');
  const report = new KeptReport();
  await undoForgotten(node, id, report);
  assert.equal(await isThere(marker), true);
  assert.match(report.warnings.join('\n'), /may have been left frozen/);
});
