// The record of a running QEMU: it is read back as it was written, also when an earlier version wrote it.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileDisks } from '../../../src/guests/bitmaps/sidecars.ts';
import { RunDirectory } from '../../../src/guests/node-directory.ts';
import { type RunningDisk, readRunningMachine, writeRunningMachine } from '../../../src/guests/qemu/running-machine.ts';

const disk = (key: string, more: Partial<RunningDisk>): RunningDisk => ({
  key,
  volume: `local:7/${key}`,
  path: `/images/${key}`,
  format: 'raw',
  isBlockDevice: false,
  isReadOnly: false,
  discards: false,
  isBackedUp: true,
  ...more,
});

/** What may be kept of bitmaps, by disk, as a later command reads it of a guest that runs with these. */
async function kept(disks: RunningDisk[]): Promise<Record<string, { storesBitmaps: boolean; isAlone: boolean }>> {
  const directory = mkdtempSync(join(tmpdir(), 'hft-machine-'));
  try {
    const run = new RunDirectory(join(directory, '7'));
    mkdirSync(run.path);
    const machine = { format: 1, accelerator: 'tcg', machineType: 'pc', started: '2026-11-20T02:00:00Z' } as const;
    await writeRunningMachine(run, { ...machine, disks });
    const files = fileDisks((await readRunningMachine(run)).disks);
    return Object.fromEntries(files.map(({ key, storesBitmaps, isAlone }) => [key, { storesBitmaps, isAlone }]));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('a guest that an earlier version started: images keep their bitmaps by their format, block devices none', async () => {
  const disks = [
    disk('scsi0', { format: 'qcow2' }),
    disk('scsi1', {}),
    disk('scsi2', { isBlockDevice: true }),
    disk('scsi3', { isReadOnly: true }),
  ];
  assert.deepEqual(await kept(disks), {
    scsi0: { storesBitmaps: true, isAlone: true },
    scsi1: { storesBitmaps: false, isAlone: true },
    scsi2: { storesBitmaps: false, isAlone: false },
  });
});

test('what the start saw of an image counts more than its format', async () => {
  const disks = [
    disk('scsi0', { format: 'qcow2', storesBitmaps: false, isAlone: true }),
    disk('scsi1', { format: 'qcow2', storesBitmaps: false, isAlone: false }),
  ];
  assert.deepEqual(await kept(disks), {
    scsi0: { storesBitmaps: false, isAlone: true },
    scsi1: { storesBitmaps: false, isAlone: false },
  });
});
