// Disks of a guest that does not run, as they can be opened: those whose files nobody can write to are read all the same.
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { PlannedDisk } from '../../guests/qemu/plan-disks.ts';
import { systemCode } from '../../util/errors.ts';

/** What the kernel says of a file system that is mounted read-only, of a mode, of an immutable file, and of a device that is set read-only. */
const UNWRITABLE = ['EROFS', 'EACCES', 'EPERM'];

/** With a disk as read-only where it has to be; `tell` is called with a sentence for each that is not configured so. */
export async function asReadable(disks: readonly PlannedDisk[], tell: (line: string) => void): Promise<PlannedDisk[]> {
  const readable: PlannedDisk[] = [];
  for (const disk of disks) {
    const why = disk.path === undefined || disk.isReadOnly ? undefined : await whyUnwritable(disk.path);
    if (why !== undefined)
      tell(`${disk.key}: '${disk.path}' cannot be written to (${why}), so it is opened read-only and keeps no bitmap`);
    readable.push(why === undefined ? disk : { ...disk, isReadOnly: true });
  }
  return readable;
}

/** Undefined also where it cannot be opened for another reason, which QEMU tells. */
async function whyUnwritable(path: string): Promise<string | undefined> {
  try {
    // Opening tells of a device too; it changes nothing, times included.
    await (await open(path, constants.O_RDWR | constants.O_NONBLOCK)).close();
    return undefined;
  } catch (error) {
    const code = systemCode(error);
    return code !== undefined && UNWRITABLE.includes(code) ? code : undefined;
  }
}
