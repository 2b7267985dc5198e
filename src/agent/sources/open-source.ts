// Decides how a disk is read: raw files and block devices directly, image formats through QEMU, NBD servers over a socket.

import { parseDiskSpec } from './disk-spec.ts';
import { openError, requireDisk } from './file-size.ts';
import { openFileSource, statDisk } from './file-source.ts';
import { chooseDriver } from './image-format.ts';
import { openNbdSource } from './nbd-source.ts';
import { openQemuSource } from './qemu-source.ts';
import type { DiskSource } from './source.ts';

/**
 * `spec`: PATH, FORMAT:PATH, nbd://HOST:PORT/NAME or nbd+unix:///NAME?socket=PATH. Block devices are raw unless a format is given:
 * their bytes are the guest's. The caller closes the source.
 */
export async function openDiskSource(spec: string, options: { signal?: AbortSignal } = {}): Promise<DiskSource> {
  const disk = parseDiskSpec(spec);
  if (disk.kind === 'nbd') return openNbdSource(disk.address, disk.exportName, { label: spec, ...options });
  const { path } = disk;
  const driver = disk.format ?? detectDriver(path);
  if (driver === 'raw') return openFileSource(path);
  return openQemuSource({ path, driver }, options);
}

function detectDriver(path: string): string {
  const stat = statDisk(path);
  requireDisk(stat, path);
  if (!stat.isFile()) return 'raw';
  try {
    return chooseDriver(path);
  } catch (error) {
    throw openError(path, error);
  }
}
