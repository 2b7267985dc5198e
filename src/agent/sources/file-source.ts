// A raw disk in a regular file or on a block device. Nothing here may write to the disk while it is backed up; what can be
// noticed of that is the size.
import { type Stats, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { HoldfastError } from '../../util/errors.ts';
import { fileHoles } from './file-holes.ts';
import { FileReader } from './file-reader.ts';
import { blockDeviceBytes, openError, requireDisk } from './file-size.ts';
import type { DiskSource, Range, SourceLocator } from './source.ts';

/** Unit of st_blocks, whatever the file system's own block is. */
const STAT_BLOCK_BYTES = 512;

/** Throws `not-found`, `bad-argument` (directory, fifo, ...) or `source-failed`, each with what to do. */
export async function openFileSource(path: string): Promise<DiskSource> {
  requireDisk(statDisk(path), path);
  const reader = new FileReader(resolve(path));
  await reader.close();
  return new FileSource(path, reader.sizeBytes);
}

/** Throws `not-found` or `source-failed`. */
export function statDisk(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw openError(path, error);
  }
}

class FileSource implements DiskSource {
  readonly sizeBytes: number;
  readonly label: string;
  readonly locator: Extract<SourceLocator, { type: 'file' }>;

  constructor(label: string, sizeBytes: number) {
    this.label = label;
    this.sizeBytes = sizeBytes;
    // Absolute, as nobody promises that the working directory stays.
    this.locator = { type: 'file', path: resolve(label) };
  }

  async *zeroRanges(
    signal: AbortSignal,
    within: readonly Range[] = [{ offset: 0, length: this.sizeBytes }],
  ): AsyncIterable<Range> {
    const { path } = this.locator;
    const stat = statDisk(path);
    if (!stat.isFile() || stat.blocks * STAT_BLOCK_BYTES >= this.sizeBytes) return;
    yield* fileHoles(path, { ranges: within, signal });
  }

  async checkUnchanged(): Promise<void> {
    const stat = statDisk(this.locator.path);
    const now = stat.isFile() ? stat.size : blockDeviceBytes(stat.rdev, this.label);
    if (now === this.sizeBytes) return;
    const message = `${this.label} changed its size from ${this.sizeBytes} to ${now} bytes during the backup; repeat it when nothing writes to the disk`;
    throw new HoldfastError('source-changed', message, { data: { path: this.label, before: this.sizeBytes, now } });
  }

  async close(): Promise<void> {}
}
