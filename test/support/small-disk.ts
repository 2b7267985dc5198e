// A real ext4 of a chosen size, for what only a file system can do: run out of space or inodes, turn read-only, break.
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { command, reasonToSkip, Scratch, unmount } from './power-cut/scratch.ts';

export const skipSmallDisk = (): string | false => reasonToSkip('mkfs.ext4', 'mount', 'losetup');

const FILLER = '.filler';

export class SmallDisk {
  readonly mountPath: string;
  readonly #scratch: Scratch;

  /** `inodes`: how many files fit; default what mkfs chooses. Nothing is reserved for root. */
  constructor(sizeBytes: number, inodes?: number) {
    this.#scratch = Scratch.create(sizeBytes);
    this.mountPath = join(this.#scratch.path, 'mnt');
    try {
      const image = join(this.#scratch.path, 'disk.raw');
      writeFileSync(image, '');
      truncateSync(image, sizeBytes);
      command('mkfs.ext4', ['-q', '-F', '-m', '0', ...(inodes === undefined ? [] : ['-N', String(inodes)]), image]);
      mkdirSync(this.mountPath);
      command('mount', ['-t', 'ext4', '-o', 'loop', image, this.mountPath]);
    } catch (error) {
      this.#scratch.dispose();
      throw error;
    }
  }

  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.mountPath);
    return bavail * bsize;
  }

  /** Takes space until `leaveBytes` are free; what a test writes next meets the real ENOSPC. */
  fill(leaveBytes = 0): void {
    const block = Buffer.alloc(65536, 0xaa);
    const fd = openSync(join(this.mountPath, FILLER), 'a');
    try {
      for (let left = this.freeBytes() - leaveBytes; left >= 4096; left = this.freeBytes() - leaveBytes) {
        writeSync(fd, block, 0, Math.min(block.length, left - (left % 4096)));
        // Delayed allocation makes statfs right at once, but metadata comes with the data.
        if (left < 1 << 20) command('sync', ['-f', this.mountPath]);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      closeSync(fd);
    }
  }

  /** Gives back what `fill` took. */
  release(): void {
    rmSync(join(this.mountPath, FILLER), { force: true });
    command('sync', ['-f', this.mountPath]);
  }

  /** EROFS from now on. Throws while a file is open for writing; then use `abort`. */
  remountReadOnly(): void {
    command('mount', ['-o', 'remount,ro', this.mountPath]);
  }

  remountWritable(): void {
    command('mount', ['-o', 'remount,rw', this.mountPath]);
  }

  /** What ext4 does after an error in its journal: no write and no sync succeeds any more, also on open files. */
  abort(): void {
    command('mount', ['-o', 'remount,abort', this.mountPath]);
  }

  dispose(): void {
    this.#scratch.dispose();
  }

  /** Unmounts; throws and names the holders when files are still open. */
  unmount(): void {
    unmount(this.mountPath);
  }
}

/** Calls `fn` with a mounted disk and takes it down afterwards, whatever happened. */
export async function withSmallDisk<T>(
  sizeBytes: number,
  fn: (disk: SmallDisk) => T | Promise<T>,
  options: { inodes?: number } = {},
): Promise<T> {
  const disk = new SmallDisk(sizeBytes, options.inodes);
  try {
    return await fn(disk);
  } finally {
    disk.dispose();
  }
}
