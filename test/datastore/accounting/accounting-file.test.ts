// The figures of the last accounting: parsed once, and anew when they were counted again.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { RememberedAccounting, writeAccounting } from '../../../src/datastore/accounting/accounting-file.ts';
import type { Accounting } from '../../../src/schema/accounting-file.ts';
import { Store } from '../fixture.ts';

const figures = (bytesLive: number): Accounting => ({
  format: 1,
  time: '2026-11-20T02:00:00Z',
  durationMs: 1,
  metadataRead: 0,
  objectsUnreadable: 0,
  bytesLive,
  bytesRecords: 0,
  snapshots: [],
  shared: [],
});

test('the file is parsed once for as long as it stays', async (t) => {
  const { layout } = await Store.create(t);
  const remembered = new RememberedAccounting(layout);
  assert.equal(await remembered.read(), undefined);
  await writeAccounting(layout, figures(1));
  const first = await remembered.read();
  assert.equal(first?.bytesLive, 1);
  assert.equal(await remembered.read(), first, 'the very object');
  await writeAccounting(layout, figures(2));
  assert.equal((await remembered.read())?.bytesLive, 2);
});

test('a damaged file is as none, until it is written anew', async (t) => {
  const { layout } = await Store.create(t);
  const remembered = new RememberedAccounting(layout);
  writeFileSync(layout.accounting, '{"format":1');
  for (let turn = 0; turn < 2; turn++) assert.equal(await remembered.read(), undefined);
  await writeAccounting(layout, figures(3));
  assert.equal((await remembered.read())?.bytesLive, 3);
});
