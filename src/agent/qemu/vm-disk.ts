// A disk of a guest as its backup sees it.
import type { RunningDisk } from '../../guests/qemu/running-machine.ts';

export interface VmDisk extends RunningDisk {
  /** What QEMU sees; the fleece has exactly as many. */
  readonly sizeBytes: number;
}

/** What cannot change needs none, and QEMU keeps none of an empty disk. */
export function hasBitmap({ isReadOnly, sizeBytes }: Pick<VmDisk, 'isReadOnly' | 'sizeBytes'>): boolean {
  return !isReadOnly && sizeBytes > 0;
}

/** Proxmox's name of the drive in a backup; its state of a TPM has one that says that QEMU does not have it. */
export function archivedDevice(key: string): string {
  return key.startsWith('tpmstate') ? `drive-${key}-backup` : `drive-${key}`;
}

/** Proxmox's name of the archive. */
export function archiveOf(key: string): string {
  return `${archivedDevice(key)}.img`;
}

/** Nodes, exports of one disk while it is backed up. */
export const backupNames = (key: string) => ({
  fleece: `fl-${key}`,
  filter: `cbw-${key}`,
  view: `snap-${key}`,
  limit: `lim-${key}`,
  exportId: `hf-${key}`,
});

/** Whether a node or export belongs to a backup. */
export const isBackupNode = (name: string): boolean => /^(fl|cbw|snap|lim)-[a-z]+\d+$/.test(name);
export const isBackupExport = (id: string): boolean => /^hf-[a-z]+\d+$/.test(id);
