// The bytes of one image into a new file: shared where the file system can, else copied by qemu-img with zeros as holes. The copy stands
// alone: an image that names further files is refused, since whoever made it could have named any file of the host.
import { chmod, constants, copyFile, open, stat, truncate } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { readQcow2Header } from './qcow2-header.ts';
import { imageOptions } from './qcow2-snapshots.ts';
import type { CopyProgress, ImageFormat, LocatedImage } from './storage.ts';
import { refuseAborted, runTool } from './storage-tool.ts';

export const IMAGE_MODE = 0o640;
const SECTOR_BYTES = 512;
/** What the slowest disk that we wait for copies in a millisecond: a terabyte takes twelve days. */
const SLOWEST_BYTES_PER_MS = 1000;
const LEAST_TIMEOUT_MS = 600_000;
/** Of a timer in Node: 24 days. */
const MOST_TIMEOUT_MS = 2 ** 31 - 1;

export interface NewCopy {
  /** No file is there; what a failed copy leaves there is the caller's to remove. */
  readonly path: string;
  readonly format: ImageFormat;
}

/** Not synced. @throws `bad-argument` for an image with a backing or data file, `not-found`, `guest-running`, `disk-full`, `target-failed`. */
export async function copyImage(
  from: LocatedImage,
  to: NewCopy,
  onProgress: CopyProgress = () => {},
  signal?: AbortSignal,
): Promise<void> {
  const sizeBytes = await requireWhole(from);
  refuseAborted(signal, from.path);
  if (from.format === 'raw' && to.format === 'raw' && (await shareExtents(from.path, to.path)))
    return onProgress(sizeBytes, sizeBytes);
  await createFile(to.path);
  const snapshot = from.snapshot === undefined ? [] : ['-l', `snapshot.name=${from.snapshot}`];
  const source = imageOptions(from.path, from.format);
  await runTool('qemu-img', ['convert', '-p', '--image-opts', '-O', to.format, ...snapshot, source, to.path], to.path, {
    signal,
    timeoutMs: Math.min(MOST_TIMEOUT_MS, LEAST_TIMEOUT_MS + sizeBytes / SLOWEST_BYTES_PER_MS),
    onOutput: (text) => {
      const percent = /.*\(([\d.]+)\/100%\)/s.exec(text)?.[1];
      if (percent !== undefined) onProgress(Math.round((Number(percent) / 100) * sizeBytes), sizeBytes);
    },
  });
}

/** An empty image, in which nothing takes space yet. @throws `disk-full`, `target-failed`, Node's errors. */
export async function createImage(to: NewCopy, sizeBytes: number, signal?: AbortSignal): Promise<void> {
  await createFile(to.path);
  if (to.format === 'raw') return truncate(to.path, sizeBytes);
  // Version 1.1 has bitmaps, and snapshots that remember their size.
  const args = ['create', '-q', '-f', 'qcow2', '-o', 'compat=1.1', '--', to.path, String(sizeBytes)];
  await runTool('qemu-img', args, to.path, { signal });
}

/** What a guest sees of an image that names no other file. */
async function requireWhole({ path, format }: LocatedImage): Promise<number> {
  if (!isAbsolute(path))
    throw new HoldfastError('bad-argument', `${JSON.stringify(path)} is no absolute path of an image`);
  try {
    if (format === 'raw') return (await stat(path)).size;
    const header = await readQcow2Header(path);
    if (header === undefined) throw new HoldfastError('bad-argument', `${path} is no qcow2 image`);
    const further = header.hasDataFile ? 'an external data file' : header.backingFile !== undefined && 'a backing file';
    if (further === false) return header.sizeBytes;
    throw new HoldfastError(
      'bad-argument',
      `${path} refers to ${further} and was not opened; if you trust it, make it one file with 'qemu-img convert' first`,
    );
  } catch (error) {
    if (systemCode(error) === 'ENOENT')
      throw new HoldfastError('not-found', `there is no image ${path}`, { cause: error });
    throw error;
  }
}

/** False where the file systems cannot; no file is left then. */
async function shareExtents(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
  } catch (error) {
    const code = systemCode(error);
    // EINVAL: a block device, or files that differ in copy-on-write.
    if (code !== undefined && ['EXDEV', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'ENOTTY', 'EINVAL'].includes(code))
      return false;
    throw error;
  }
  await chmod(to, IMAGE_MODE);
  const { size } = await stat(to);
  // As qemu-img does: an image from outside may end within a sector, a guest's disk may not.
  if (size % SECTOR_BYTES !== 0) await truncate(to, size - (size % SECTOR_BYTES) + SECTOR_BYTES);
  return true;
}

async function createFile(path: string): Promise<void> {
  await (await open(path, 'wx', IMAGE_MODE)).close();
}
