// A sidecar must not come back with a power cut once the guest may write: the order of the calls themselves is looked at, for a journal would hide a missing sync.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { holdfast, holdfastWithFault, skipWithoutBuild } from '../../support/crash/cli.ts';
import { skipFaults } from '../../support/faults/faults.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { TestNode } from '../../support/guests/vm-node.ts';

const skip = skipWithoutBuild() || skipFaults() || (await reasonToSkipGuest());

suite('the record of sidecars', { skip, timeout: 60_000 }, () => {
  let place: TestNode;
  before(async () => {
    place = await TestNode.create();
  });
  after(async () => await place?.remove());

  test('is gone for good before the bitmaps are loaded', async () => {
    const id = await place.addVm(108, { disks: { scsi0: { format: 'raw', sizeMiB: 8 } } });
    const root = join(place.path, 'store');
    const backup = ['vm', 'backup', String(id), '--node-dir', place.path];
    for (const args of [['datastore', 'create'], backup]) {
      const { status, stderr } = await holdfast(root, args);
      assert.equal(status, 0, stderr);
    }
    const directory = join(place.path, 'guests', String(id));
    assert.ok(existsSync(join(directory, 'sidecars.json')));
    const { status, stderr, calls } = await holdfastWithFault(root, backup, { directory, action: 'count' });
    assert.equal(status, 0, stderr);
    const first = (op: string, path: string): number => calls.findIndex((call) => call.op === op && call.path === path);
    const [record, image] = [first('unlink', '/sidecars.json'), first('unlink', '/bitmaps-scsi0.qcow2')];
    assert.ok(record >= 0 && record < image, JSON.stringify(calls));
    const isSynced = calls.slice(record, image).some(({ op, path }) => op === 'fsync' && path === '');
    assert.ok(isSynced, 'its removal is synced');
  });
});
