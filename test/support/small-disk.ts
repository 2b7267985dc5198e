// A real ext4 or btrfs of a chosen size, for what only a file system can do: run out of space or inodes, turn read-only, break.
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { command, reasonToSkip, Scratch, unmount } from './power-cut/scratch.ts';

export type SmallFileSystem = 'ext4' | 'btrfs';

export const skipSmallDisk = (fileSystem: SmallFileSystem = 'ext4'): string | false =>
  reasonToSkip(`mkfs.${fileSystem}`, 'mount', 'losetup') || reasonForKernel(fileSystem);

const FILLER = '.filler';

export class SmallDisk {
  readonly mountPath: string;
  readonly #scratch: Scratch;

  /** `inodes`: how many files fit, of ext4; default what mkfs chooses. Nothing is reserved for root. Btrfs takes 109 MiB at least. */
  constructor(sizeBytes: number, inodes?: number, fileSystem: SmallFileSystem = 'ext4') {
    this.#scratch = Scratch.create(sizeBytes);
    this.mountPath = join(this.#scratch.path, 'mnt');
    try {
      const image = join(this.#scratch.path, 'disk.raw');
      writeFileSync(image, '');
      truncateSync(image, sizeBytes);
      if (fileSystem === 'btrfs') command('mkfs.btrfs', ['-q', image]);
      else
        command('mkfs.ext4', ['-q', '-F', '-m', '0', ...(inodes === undefined ? [] : ['-N', String(inodes)]), image]);
      mkdirSync(this.mountPath);
      command('mount', ['-t', fileSystem, '-o', 'loop', image, this.mountPath]);
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
  options: { inodes?: number; fileSystem?: SmallFileSystem } = {},
): Promise<T> {
  const disk = new SmallDisk(sizeBytes, options.inodes, options.fileSystem);
  try {
    return await fn(disk);
  } finally {
    disk.dispose();
  }
}

function reasonForKernel(fileSystem: SmallFileSystem): string | false {
  const isKnown = () => new RegExp(`\\t${fileSystem}$`, 'm').test(readFileSync('/proc/filesystems', 'utf8'));
  if (isKnown()) return false;
  try {
    command('modprobe', [fileSystem]);
  } catch {
    // Whether it helped is seen below.
  }
  return isKnown() ? false : `the kernel has no ${fileSystem}`;
}
