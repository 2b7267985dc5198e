// What a path is and how large: regular files by fstat, block devices by sysfs (Node has no ioctl).
import { fstatSync, readFileSync, type Stats } from 'node:fs';
import { HoldfastError, systemCode } from '../../util/errors.ts';

/** Unit of /sys/dev/block/MAJ:MIN/size whatever the device's own sector size is. */
const SYSFS_UNIT_BYTES = 512;

/** Bytes of an open regular file or block device. Throws `bad-argument` for anything else. */
export function sizeOf(fd: number, path: string): number {
  const stat = fstatSync(fd);
  requireDisk(stat, path);
  return stat.isFile() ? stat.size : blockDeviceBytes(stat.rdev, path);
}

/** Throws `bad-argument` for what is neither a regular file nor a block device. Call it before `open`: a fifo would hang. */
export function requireDisk(stat: Stats, path: string): void {
  if (stat.isFile() || stat.isBlockDevice()) return;
  const [what, advice] = stat.isDirectory()
    ? ['a directory', 'give the disk image in it, or back it up as a file tree']
    : stat.isFIFO()
      ? ['a fifo', 'store its data in a file first: a disk is read at any offset']
      : stat.isSocket()
        ? ['a socket', `for an NBD server write nbd+unix:///NAME?socket=${path}`]
        : ['a character device', 'give a file or a block device'];
  throw new HoldfastError('bad-argument', `${path} is ${what}, not a disk; ${advice}`, { data: { path } });
}

/** glibc's makedev(3) layout: minor bits 0-7 and 20-31, major bits 8-19 and above 32. */
export function deviceNumbers(rdev: number): { major: number; minor: number } {
  const high = Math.floor(rdev / 0x1_0000_0000);
  const low = rdev >>> 0;
  return { major: ((low >>> 8) & 0xfff) | (high & ~0xfff), minor: (low & 0xff) | ((low >>> 12) & ~0xff) };
}

export function blockDeviceBytes(rdev: number, path: string): number {
  const { major, minor } = deviceNumbers(rdev);
  const sysfs = `/sys/dev/block/${major}:${minor}/size`;
  try {
    return Number(readFileSync(sysfs, 'utf8')) * SYSFS_UNIT_BYTES;
  } catch (error) {
    throw new HoldfastError(
      'source-failed',
      `cannot tell the size of ${path}: ${sysfs} is not readable; is /sys mounted?`,
      {
        cause: error,
        data: { path, sysfs },
      },
    );
  }
}

/** The error for a path that cannot be opened or looked at. */
export function openError(path: string, cause: unknown): HoldfastError {
  const code = systemCode(cause);
  const data = { path, code };
  if (code === undefined) throw cause;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new HoldfastError('not-found', `there is no disk ${path}; check the path`, { cause, data });
  }
  const advice =
    code === 'EACCES' || code === 'EPERM'
      ? 'run as a user that may read it, or give that user access'
      : 'check the disk below it';
  return new HoldfastError('source-failed', `cannot open ${path}: ${code}; ${advice}`, { cause, data });
}
