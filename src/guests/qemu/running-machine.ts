// What a running QEMU was given, as its start left it in the run directory: the configuration may have changed since, and a backup swaps nodes of the
// machine that runs, not of the one that is configured.
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { readIfPresent, writeFileAtomic } from '../../util/atomic-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import type { RunDirectory } from '../node-directory.ts';
import type { PlannedDisk } from './plan-disks.ts';

const RunningDisk = Type.Object({
  key: Type.String(),
  /** Volume id or absolute path. */
  volume: Type.String(),
  path: Type.String(),
  format: Type.Union([Type.Literal('raw'), Type.Literal('qcow2')]),
  isBlockDevice: Type.Boolean(),
  isReadOnly: Type.Boolean(),
  discards: Type.Boolean(),
  isBackedUp: Type.Boolean(),
  /** These two are not there of a guest that was started by an earlier version: `storesBitmaps`, `isAlone`. */
  isAlone: Type.Optional(Type.Boolean()),
  storesBitmaps: Type.Optional(Type.Boolean()),
});
export type RunningDisk = Static<typeof RunningDisk>;

const RunningMachine = Type.Object({
  format: Type.Literal(1),
  accelerator: Type.Union([Type.Literal('kvm'), Type.Literal('tcg')]),
  machineType: Type.String(),
  started: Type.String(),
  disks: Type.Array(RunningDisk),
});
export type RunningMachine = Static<typeof RunningMachine>;

/** @throws `guest-failed` when the file is gone or damaged while the guest runs: stop and start it. */
export async function readRunningMachine(run: RunDirectory): Promise<RunningMachine> {
  const path = fileOf(run);
  const text = await readIfPresent(path);
  try {
    if (text !== undefined) return parseJson(text, RunningMachine);
  } catch (error) {
    if (!(error instanceof JsonShapeError)) throw error;
  }
  throw new HoldfastError(
    'guest-failed',
    `${path}, which says what the guest was started with, is gone or damaged; stop the guest and start it anew`,
  );
}

export async function writeRunningMachine(run: RunDirectory, machine: RunningMachine): Promise<void> {
  await writeFileAtomic(fileOf(run), `${JSON.stringify(machine, null, 2)}\n`);
}

/** Undefined for a drive without a medium. */
export function runningDisk(disk: PlannedDisk): RunningDisk | undefined {
  const { key, volume, path, format, isBlockDevice, isReadOnly, discards, isBackedUp, isAlone, storesBitmaps } = disk;
  if (volume === undefined || path === undefined) return undefined;
  return { key, volume, path, format, isBlockDevice, isReadOnly, discards, isBackedUp, isAlone, storesBitmaps };
}

/** Whether its one file tells whether anybody wrote to the disk. */
export function isAlone({ isBlockDevice, isAlone }: Pick<RunningDisk, 'isBlockDevice' | 'isAlone'>): boolean {
  return isAlone ?? !isBlockDevice;
}

/** Whether QEMU keeps the disk's bitmaps in the image. */
export function storesBitmaps({ format, storesBitmaps }: Pick<RunningDisk, 'format' | 'storesBitmaps'>): boolean {
  return storesBitmaps ?? format === 'qcow2';
}

function fileOf(run: RunDirectory): string {
  return join(run.path, 'machine.json');
}
