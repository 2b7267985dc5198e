// The storage daemons of one guest: that of a backup's fleece, or that of the disks of a guest that does not run.
import { readdirSync, readFileSync } from 'node:fs';

/** Pids of those whose sockets lie in the guest's run directory, or another. */
export function storageDaemons(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return /^[^\0]*qemu-storage-daemon\0/.test(line) && line.includes(`${directory}/`);
      } catch {
        return false;
      }
    });
}
