import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { NodeRecord } from '../../src/nodes/node-store.ts';
import { nodeTables } from '../../src/state/node-tables.ts';
import { StateDatabase } from '../../src/state/state-database.ts';
import { addUser, openFixture, ROOT, temporaryDirectory } from '../auth/access-fixture.ts';

const NODE: NodeRecord = {
  name: 'web1',
  authId: 'agents@local!agent-web1' as NodeRecord['authId'],
  machineId: 'ab'.repeat(32),
  enrolledMs: 1_800_000_000_000,
  version: '0.1',
  hostName: 'web1.example',
  bootId: 'boot',
  address: '192.0.2.7',
  lastContactMs: 1_800_000_000_001,
};

test('a node comes back as it was put, is replaced by name, and is gone when deleted', (t) => {
  const state = StateDatabase.open(join(temporaryDirectory(t), 'state.db'));
  t.after(() => state.close());
  const nodes = nodeTables(state.db);
  const other = { ...NODE, name: 'a-first', authId: 'agents@local!agent-a-first' as NodeRecord['authId'] };
  nodes.put(NODE);
  nodes.put(other);
  nodes.put({ ...NODE, version: '0.2' });
  assert.deepEqual(nodes.list(), [other, { ...NODE, version: '0.2' }]);
  assert.deepEqual(nodes.find('web1'), { ...NODE, version: '0.2' });
  nodes.delete('web1');
  assert.equal(nodes.find('web1'), undefined);
});

test('what an agent says changes nothing else of its node, and makes none that is gone', (t) => {
  const state = StateDatabase.open(join(temporaryDirectory(t), 'state.db'));
  t.after(() => state.close());
  const nodes = nodeTables(state.db);
  const contact = { version: '0.2', hostName: 'web2', bootId: 'b2', address: '192.0.2.8', lastContactMs: 9 };
  nodes.heard('web1', contact);
  assert.deepEqual(nodes.list(), []);
  nodes.put(NODE);
  nodes.heard('web1', { ...NODE, ...contact, machineId: 'cd' } as NodeRecord);
  assert.deepEqual(nodes.find('web1'), { ...NODE, ...contact });
});

test('an enrolment is replaced by a new one, and goes with its user', async (t) => {
  const fixture = await openFixture(t);
  const userid = await addUser(fixture, 'agents');
  const nodes = nodeTables(fixture.state.db);
  const enrolment = { node: 'web1', userid, secretHash: Buffer.alloc(32, 1), expireMs: 5, createdBy: ROOT.authId };
  nodes.putEnrolment(enrolment);
  nodes.putEnrolment({ ...enrolment, expireMs: 6 });
  assert.deepEqual(nodes.enrolments(), [{ ...enrolment, expireMs: 6 }]);
  assert.deepEqual(nodes.enrolment('web1')?.secretHash, enrolment.secretHash);
  fixture.access.deleteUser(ROOT, userid);
  assert.deepEqual(nodes.enrolments(), []);
});
