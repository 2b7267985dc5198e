// Where the next data of a sparse file lie, on a real one.
import assert from 'node:assert/strict';
import { closeSync, openSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadFileCalls } from '../../../src/agent/tree/file-calls.ts';
import { nextData } from '../../../src/agent/tree/next-data.ts';
import { scratch } from '../nbd/servers.ts';

const MIB = 1024 * 1024;
const calls = loadFileCalls();

test('the next data, up to the size that was asked for; the rest where nothing can be told', (t) => {
  const path = join(scratch(t), 'file');
  const fd = openSync(path, 'w+');
  for (const at of [MIB, 4 * MIB]) writeSync(fd, Buffer.alloc(MIB, 1), 0, MIB, at);
  truncateSync(path, 8 * MIB);
  assert.deepEqual(nextData(calls, fd, 0, 8 * MIB), [MIB, 2 * MIB]);
  assert.deepEqual(nextData(calls, fd, 1.5 * MIB, 8 * MIB), [1.5 * MIB, 2 * MIB]);
  assert.deepEqual(nextData(calls, fd, 2 * MIB, 8 * MIB), [4 * MIB, 5 * MIB]);
  assert.deepEqual(nextData(calls, fd, 5 * MIB, 8 * MIB), [8 * MIB, 8 * MIB]);
  // It grew after it was looked at.
  assert.deepEqual(nextData(calls, fd, 4 * MIB, 4.5 * MIB), [4 * MIB, 4.5 * MIB]);
  assert.deepEqual(nextData(calls, fd, 2 * MIB, 3 * MIB), [3 * MIB, 3 * MIB]);
  closeSync(fd);
  assert.deepEqual(nextData(calls, -1, 5, 8 * MIB), [5, 8 * MIB]);
});
