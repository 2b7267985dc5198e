import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allowance } from '../../../src/datastore/limits/allowance.ts';
import { CHECK_EVERY_BYTES, lowSpaceLimit, requireSpace, spaceOf } from '../../../src/datastore/limits/low-space.ts';

const GIB = 1024 ** 3;

test('the default is 1 GiB or 1 %, and never more than 5 % of a small file system', () => {
  assert.equal(lowSpaceLimit(null, 50 * GIB), GIB);
  assert.equal(lowSpaceLimit(null, 1000 * GIB), 10 * GIB);
  assert.equal(lowSpaceLimit(null, 10 * GIB), GIB / 2);
  assert.equal(lowSpaceLimit(0, 10 * GIB), 0);
  assert.equal(lowSpaceLimit(7, 10 * GIB), 7);
});

test('below the limit is an error with figures, at it is none', () => {
  const { totalBytes } = spaceOf('/');
  requireSpace('/', 0);
  assert.throws(() => requireSpace('/', totalBytes + 1), { code: 'disk-full' });
});

test('a thread looks before it stores anything, and again after so many bytes', () => {
  const limit = { root: '/', quotas: [], lowSpaceBytes: 0, stored: new SharedArrayBuffer(8) };
  const allowance = new Allowance(limit);
  allowance.requireRoom(1);
  Object.assign(limit, { lowSpaceBytes: spaceOf('/').totalBytes + 1 });
  allowance.spend(CHECK_EVERY_BYTES - 1);
  allowance.requireRoom(1);
  allowance.spend(1);
  assert.throws(() => allowance.requireRoom(1), { code: 'disk-full' });
});
