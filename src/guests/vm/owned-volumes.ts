// Which volumes a configuration names, and which of them are the guest's own: those go when it goes. What another guest's name stands on, an ISO
// image, a path of the host are never its own.
import type { GuestId } from '../../schema/guest-names.ts';
import { formatVolumeId, parseVolumeId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type Drive, isDiskKey, isUnusedKey, parseDrive } from '../config/drive.ts';
import type { ConfigSection, VmConfig } from '../config/vm-config.ts';
import type { ImageFormat } from '../storage/storage.ts';
import { findVolumeName, formatVolumeName } from '../storage/volume-name.ts';

/** The drives of a section, `unusedN` not among them. */
export function drivesOf({ values }: ConfigSection): Drive[] {
  return [...values].filter(([key]) => isDiskKey(key)).map(([key, value]) => parseDrive(key, value));
}

/** Disks that hold a guest's data: neither CD drives nor the drive that cloud-init's files are made on. */
export function disksOf(section: ConfigSection): Drive[] {
  return drivesOf(section).filter(({ media }) => media === 'disk');
}

/** Whether a volume is a disk of this guest, by its name. */
export function isOwnVolume(volume: string, id: GuestId): boolean {
  if (volume.startsWith('/') || !volume.includes(':')) return false;
  const name = findVolumeName(parseVolumeId(volume).name);
  return name?.content === 'images' && name.vmid === id;
}

/** The drive of a disk of the guest's own. @throws `bad-argument`. */
export function requireOwnDisk(id: GuestId, { values }: ConfigSection, key: string): Drive {
  const value = values.get(key);
  const drive = value === undefined || !isDiskKey(key) ? undefined : parseDrive(key, value);
  if (drive?.media === 'disk' && isOwnVolume(drive.file, id)) return drive;
  throw new HoldfastError('bad-argument', `VM ${id} has no disk '${key}' of its own`, { data: { vmid: id, key } });
}

/** Whether a drive is the one that cloud-init's files are made on: `vm-VMID-cloudinit`, on whatever kind of storage. */
export function isCloudInitDrive(drive: Pick<Drive, 'file' | 'media'>): boolean {
  return drive.media === 'cdrom' && /(^|[/:])vm-\d+-cloudinit(\.\w+)?$/.test(drive.file);
}

/** The volume that cloud-init's files are made on. @throws `bad-name` for a storage's name that is none. */
export function cloudInitVolume(storage: string, id: GuestId, format: ImageFormat): string {
  const name = formatVolumeName({ content: 'images', vmid: id, stem: cloudInitStem(id), format });
  return formatVolumeId({ storage, name });
}

/** Its name on the storage, without the ending. */
export const cloudInitStem = (id: GuestId): string => `vm-${id}-cloudinit`;

/** All volumes of the guest's own that its configuration names, each once: attached, unused, and those of snapshots. */
export function ownVolumes(config: VmConfig, id: GuestId): string[] {
  const found = new Set<string>();
  for (const section of [config, ...config.snapshots.values()])
    for (const [key, value] of section.values)
      if (isDiskKey(key) || isUnusedKey(key)) {
        const { file } = parseDrive(key, value);
        if (isOwnVolume(file, id)) found.add(file);
      }
  return [...found];
}

/** The snapshots that a volume is part of. */
export function snapshotsWith(config: VmConfig, volume: string): string[] {
  return [...config.snapshots]
    .filter(([, section]) => drivesOf(section).some(({ file }) => file === volume))
    .map(([name]) => name);
}

/** `values` with each of these volumes under a free `unusedN`, unless one names it already. */
export function withUnused(values: ReadonlyMap<string, string>, volumes: readonly string[]): Map<string, string> {
  const result = new Map(values);
  for (const volume of volumes) {
    const isNamed = [...result].some(
      ([key, value]) => (isDiskKey(key) || isUnusedKey(key)) && parseDrive(key, value).file === volume,
    );
    if (isNamed) continue;
    let index = 0;
    while (result.has(`unused${index}`)) index++;
    result.set(`unused${index}`, volume);
  }
  return result;
}
