// Puts cloud-init's files on the drive that a guest finds them by: an ISO with the label of its kind, 4 MiB whatever is in it, so that the
// volume keeps its size. The old drive or the new one is there, never a part; only its owner reads it, for it holds a password's hash.
import { chmod, mkdir, rename, rm, stat, truncate } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory, syncFile, writeSynced } from '../../util/atomic-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import { run, toolMissing } from '../../util/run.ts';
import type { CloudInitFiles } from './cloud-init-files.ts';

export const DRIVE_BYTES = 4 << 20;

/** The label by which cloud-init finds a drive of the kind. */
const LABELS = { nocloud: 'cidata', configdrive2: 'config-2' } as const;

/** Programs that make an ISO and their first arguments; the first that is there is taken. */
const MAKERS: readonly (readonly [tool: string, ...args: string[]])[] = [
  ['genisoimage'],
  ['xorriso', '-as', 'mkisofs'],
];

/**
 * Writes the drive in place of `path`. One writer at a time (the guest's lock); `PATH.tmp` is its scratch directory, and what a crash left there is deleted.
 * @throws `tool-missing`, `write-failed`, `too-large`, `timed-out`, `aborted`.
 */
export async function writeCloudInitDrive(
  path: string,
  files: CloudInitFiles,
  format: 'raw' | 'qcow2',
  signal?: AbortSignal,
): Promise<void> {
  const scratch = `${path}.tmp`;
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { mode: 0o700 });
  try {
    const content = join(scratch, 'content');
    for (const [name, text] of Object.entries(filesOf(files))) {
      await mkdir(dirname(join(content, name)), { recursive: true, mode: 0o755 });
      await writeSynced(join(content, name), text);
    }
    const iso = join(scratch, 'drive.iso');
    await makeIso(iso, content, LABELS[files.citype], signal);
    const made = format === 'raw' ? iso : join(scratch, 'drive.qcow2');
    if (format === 'qcow2')
      await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', iso, made], { signal, failure: 'write-failed' });
    await chmod(made, 0o600);
    await syncFile(made);
    await rename(made, path);
    await syncDirectory(dirname(path));
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function filesOf({ citype, userData, metaData, networkConfig, vendorData }: CloudInitFiles): Record<string, string> {
  const vendor = (name: string) => (vendorData === undefined ? {} : { [name]: vendorData });
  if (citype === 'nocloud')
    return { 'user-data': userData, 'meta-data': metaData, 'network-config': networkConfig, ...vendor('vendor-data') };
  return {
    'openstack/latest/user_data': userData,
    'openstack/latest/meta_data.json': metaData,
    'openstack/content/0000': networkConfig,
    ...vendor('openstack/latest/vendor_data.json'),
  };
}

async function makeIso(iso: string, content: string, label: string, signal: AbortSignal | undefined): Promise<void> {
  const args = ['-quiet', '-iso-level', '3', '-J', '-R', '-V', label, '-o', iso, content];
  let missing: unknown;
  for (const [tool, ...first] of MAKERS) {
    try {
      await run(tool, [...first, ...args], { signal, failure: 'write-failed' });
      const { size } = await stat(iso);
      if (size > DRIVE_BYTES)
        throw new HoldfastError('too-large', `a cloud-init drive of ${size} bytes; it takes ${DRIVE_BYTES}`);
      await truncate(iso, DRIVE_BYTES);
      return;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'tool-missing') throw error;
      missing = error;
    }
  }
  throw toolMissing('genisoimage', missing);
}
