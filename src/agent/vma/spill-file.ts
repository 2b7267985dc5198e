// A temporary file for clusters that came long before the rest of their pages. It has no name from the moment it is made, so that
// nothing of it stays, however the process ends; it is made when it is first needed, and room that was read is used again.
import { randomBytes } from 'node:crypto';
import { constants, type PathLike, unlinkSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { CLUSTER_BYTES } from './vma-layout.ts';

/** From include/uapi/asm-generic/fcntl.h; Node has no name for it. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

export class SpillFile {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #free: number[] = [];
  #file: FileHandle | undefined;
  #places = 0;

  /** In `directory`, with at most `maxBytes`. */
  constructor(directory: string, maxBytes: number) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
  }

  /** The most that it ever held. */
  get bytes(): number {
    return this.#places * CLUSTER_BYTES;
  }

  /** Keeps a cluster, and answers with its place. @throws `too-large` past the limit, `disk-full`, `write-failed`. */
  async write(cluster: Uint8Array): Promise<number> {
    const place = this.#free.pop() ?? this.#places;
    if ((place + 1) * CLUSTER_BYTES > this.#maxBytes)
      throw new HoldfastError(
        'too-large',
        `the archive has its clusters so far out of order that more than ${this.#maxBytes} bytes would have to be kept aside; unpack it with vma and back up the disks`,
      );
    try {
      this.#file ??= await openNameless(this.#directory);
      for (let at = 0; at < cluster.length; )
        at += (await this.#file.write(cluster, at, cluster.length - at, place * CLUSTER_BYTES + at)).bytesWritten;
    } catch (cause) {
      throw this.#failed(cause);
    }
    this.#places = Math.max(this.#places, place + 1);
    return place;
  }

  /** Fills `cluster` from a place, which is free then. @throws `source-failed`. */
  async read(place: number, cluster: Uint8Array): Promise<void> {
    const { bytesRead } = await (this.#file as FileHandle).read(cluster, 0, cluster.length, place * CLUSTER_BYTES);
    if (bytesRead !== cluster.length)
      throw new HoldfastError('source-failed', `a temporary file in ${this.#directory} has lost bytes; check the disk`);
    this.#free.push(place);
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  #failed(cause: unknown): HoldfastError {
    const isFull = ['ENOSPC', 'EDQUOT'].includes(systemCode(cause) ?? '');
    const message = `cannot keep what comes out of order in a temporary file in ${this.#directory}: ${(cause as Error).message}; set TMPDIR to a directory with more room`;
    return new HoldfastError(isFull ? 'disk-full' : 'write-failed', message, { cause });
  }
}

/** Not every file system makes files without a name: there it has one for two system calls. */
async function openNameless(directory: string): Promise<FileHandle> {
  try {
    return await open(directory, constants.O_RDWR | O_TMPFILE, 0o600);
  } catch (error) {
    if (!['EOPNOTSUPP', 'EISDIR', 'EINVAL'].includes(systemCode(error) ?? '')) throw error;
  }
  const path: PathLike = join(directory, `.holdfast-import-${randomBytes(8).toString('hex')}`);
  const file = await open(path, 'wx+', 0o600);
  unlinkSync(path);
  return file;
}
