// When a file system is full, from the figures of the last count; they are read when they change, and not before.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Forecasts } from '../../../src/api/stores/forecast.ts';
import { writeAccounting } from '../../../src/datastore/accounting/accounting-file.ts';
import { Layout } from '../../../src/datastore/layout.ts';

const DAY = 86_400;
const NOW = 1_800_000_000 - (1_800_000_000 % DAY);

/** Ten days with so many bytes each. */
async function count(root: string, bytesPerDay: number | null): Promise<void> {
  const bytes = { bytesLogical: 0, bytesNew: 0, bytesUnique: 0, bytesAttributed: 0 };
  const snapshots = Array.from({ length: 10 }, (_, day) => ({
    ...{ ns: '', group: 'vm/1', owner: 'a@pbs', suspectClock: false, ...bytes },
    time: NOW - day * DAY,
    bytesStored: bytesPerDay,
  }));
  const figures = { time: '', durationMs: 0, metadataRead: 0, objectsUnreadable: 0, bytesLive: 0, bytesRecords: 0 };
  await writeAccounting(new Layout(root), { format: 1, ...figures, snapshots, shared: [] });
}

test('growth gives a day, none gives 0, and too little to tell from nothing', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'hft-forecast-'));
  t.after(() => rmSync(root, { recursive: true }));
  const forecasts = new Forecasts();
  assert.equal(await forecasts.fullAt(root, 1000, NOW), undefined);
  await count(root, 10);
  assert.equal(await forecasts.fullAt(root, 1000, NOW), NOW + 100 * DAY);
  assert.equal(await forecasts.fullAt(root, 2000, NOW), NOW + 200 * DAY);
  await count(root, 0);
  assert.equal(await forecasts.fullAt(root, 1000, NOW), 0);
  await count(root, null);
  assert.equal(await forecasts.fullAt(root, 1000, NOW), undefined);
});

test('figures that did not change are not read again', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'hft-forecast-'));
  t.after(() => rmSync(root, { recursive: true }));
  const forecasts = new Forecasts();
  await count(root, 10);
  const path = new Layout(root).accounting;
  // Whole seconds, which can be put back.
  utimesSync(path, NOW, NOW);
  assert.equal(await forecasts.fullAt(root, 1000, NOW), NOW + 100 * DAY);
  writeFileSync(path, 'x'.repeat(statSync(path).size));
  utimesSync(path, NOW, NOW);
  assert.equal(await forecasts.fullAt(root, 1000, NOW), NOW + 100 * DAY);
});
