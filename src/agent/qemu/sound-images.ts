// qcow2 images whose tables are damaged are not backed up: QEMU reads zeros where a file is cut off, and what it stores in such an image, a bitmap too, may
// take the place of a disk's data.
import type { PlannedDisk } from '../../guests/qemu/plan-disks.ts';
import { readQcow2Header } from '../../guests/storage/qcow2-header.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { run } from '../../util/run.ts';

/** It reads the tables alone, 160 MiB of a disk of 1 TiB. */
const CHECK_TIMEOUT_MS = 3_600_000;
/** Of qemu-img check; leaks are another, and harm nobody. */
const STATUS_CORRUPT = 2;

/** `disks` are those that nothing is known of since they were last checked. @throws `source-failed` that names the volume; `tool-missing`, `timed-out`, `aborted`. */
export async function requireSoundImages(
  id: GuestId,
  disks: readonly PlannedDisk[],
  signal: AbortSignal,
): Promise<void> {
  for (const { key, path, format, volume } of disks) {
    if (path === undefined || format !== 'qcow2') continue;
    // QEMU mends the counts of one that it left in the middle when it opens it.
    if ((await readQcow2Header(path))?.isDirty) continue;
    const found = await whatIsWrong(path, signal);
    if (found === undefined) continue;
    throw new HoldfastError(
      'source-failed',
      `VM ${id}: ${key}: volume '${volume}' is damaged, so it is neither read nor written to: ${found}. Copy ${path}, repair it by 'qemu-img check -r all' or restore it, and back up again`,
      { data: { key, volume, path } },
    );
  }
}

/** Undefined also for an image that cannot be opened: QEMU tells why when it opens it for the backup. */
async function whatIsWrong(path: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    await run('qemu-img', ['check', '-q', '-f', 'qcow2', '--', path], { signal, timeoutMs: CHECK_TIMEOUT_MS });
    return undefined;
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'source-failed') throw error;
    if (error.data.status !== STATUS_CORRUPT) return undefined;
    const lines = String(error.data.stderr).split('\n');
    return lines.find((line) => line.startsWith('ERROR')) ?? lines[0];
  }
}
