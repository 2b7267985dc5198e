// holdfast restore of a disk, a stream or a small file, to a file, a block device or standard output.
import type { LostRange } from '../../agent/restore/piece-restorer.ts';
import { runRestore } from '../../agent/restore/run-restore.ts';
import { HoldfastError } from '../../util/errors.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { formatDuration, pairs } from '../output.ts';
import { type RestorePlace, threadsFor } from './restore-place.ts';

export interface DiskRestoreOptions {
  readonly overwrite?: boolean;
  readonly damaged: 'refuse' | 'zero';
}

/** Ranges that are printed one by one; JSON has all. */
const SHOWN_RANGES = 1000;

export async function restoreDisk(place: RestorePlace, options: DiskRestoreOptions): Promise<void> {
  const { archive, averageBytes, snapshot, target } = place;
  const lookups = Math.ceil(archive.sizeBytes / averageBytes);
  const lost = await place.withObjects(threadsFor(place), lookups, async (pool, get) => {
    const request = {
      ...place,
      overwrite: options.overwrite ?? false,
      zeroLost: options.damaged === 'zero',
      stdout: process.stdout,
    };
    return await runRestore(request, pool, (_, id) => get(id));
  });
  place.endProgress();
  warnOfLost(archive.name, lost, place.warn);
  const result = {
    snapshot,
    archive: archive.name,
    target,
    bytes: archive.sizeBytes,
    damaged: lost,
    durationMs: place.durationMs(),
  };
  if (target !== '-') place.tell(result, describe);
  if (lost.length > 0) throw incomplete(archive.name, lost);
}

interface Restored {
  readonly snapshot: string;
  readonly archive: string;
  readonly target: string;
  readonly bytes: number;
  /** Ranges that hold zeros because what was there is lost. */
  readonly damaged: readonly LostRange[];
  readonly durationMs: number;
}

function describe(value: Restored): string {
  return pairs([
    ['restored', `${value.archive} of ${value.snapshot}`],
    ['to', value.target],
    ['size', formatBytes(value.bytes)],
    ['time', formatDuration(value.durationMs)],
  ]);
}

function warnOfLost(archive: string, lost: readonly LostRange[], warn: RestorePlace['warn']): void {
  for (const { offset, length } of lost.slice(0, SHOWN_RANGES))
    warn(`${archive}: ${length} bytes at ${offset} are lost, zeros stand for them`);
  if (lost.length > SHOWN_RANGES)
    warn(`${archive}: and ${lost.length - SHOWN_RANGES} ranges more, all of them with --output-format json`);
}

/** What was asked for is done, and it is not the disk that was backed up. */
function incomplete(archive: string, lost: readonly LostRange[]): HoldfastError {
  const bytes = lost.reduce((sum, { length }) => sum + length, 0);
  return new HoldfastError(
    'object-damaged',
    `${archive} was restored with zeros for ${bytes} bytes in ${lost.length} ranges that are lost; look for them in another snapshot or replica`,
    { data: { archive, damaged: lost } },
  );
}
