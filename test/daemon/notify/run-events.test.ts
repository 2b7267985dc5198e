// Of runs of jobs those are told that no task tells of.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runEvent } from '../../../src/daemon/notify/run-events.ts';
import type { Job, JobRun, RunState } from '../../../src/jobs/schedule/job.ts';

const SLOT_MS = Date.parse('2026-11-22T01:00:00Z');
const run = (state: RunState, kind = 'vzdump'): JobRun => ({
  kind,
  id: 'nightly',
  number: 1,
  reason: 'schedule',
  state,
  slotMs: SLOT_MS,
  attempt: 0,
  authId: 'root@pam',
  queuedMs: SLOT_MS,
  startMs: null,
  endMs: SLOT_MS + 90_500,
  upid: null,
  message: 'skipped: it runs still',
});
const job = { kind: 'vzdump', id: 'nightly', options: { store: 'main' } } as unknown as Job;

test('a run that was skipped or cut off is told, also of a job that is gone; any other has a task that tells of it', () => {
  const skipped = runEvent(run('skipped'), job, 'backup1');
  assert.deepEqual(skipped, {
    type: 'backup',
    severity: 'warning',
    time: SLOT_MS / 1000 + 90,
    node: 'backup1',
    subject: 'job vzdump/nightly was skipped',
    text: 'Result: skipped: it runs still\nDue: 2026-11-22T01:00:00.000Z',
    fields: { 'job-id': 'nightly', status: 'skipped', datastore: 'main' },
  });
  const gone = runEvent(run('interrupted', 'prune'), undefined, 'backup1');
  assert.deepEqual([gone?.type, gone?.subject], ['prune', 'job prune/nightly was cut off']);
  assert.deepEqual(gone?.fields, { 'job-id': 'nightly', status: 'interrupted' });
  for (const state of ['ok', 'warning', 'error', 'queued', 'running'] as const)
    assert.equal(runEvent(run(state), job, 'backup1'), undefined, state);
});
