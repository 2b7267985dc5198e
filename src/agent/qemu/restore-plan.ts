// What a restore is going to make, found out before anything is made: the configuration as the guest will have it, and for each disk the archive, the storage
// and the format. What the backup does not have, or this node not, is left out and told.

import { DRIVE_BYTES } from '../../guests/cloud-init/write-drive.ts';
import { DISK_KEYS, type Drive, parseDrive, printDrive } from '../../guests/config/drive.ts';
import { freshIdentity } from '../../guests/config/identity.ts';
import { type ArchivedDisk, cleanImportedConfig } from '../../guests/config/import-config.ts';
import { isNetKey, parseNetDevice, printNetDevice, randomMac } from '../../guests/config/net-device.ts';
import { type VmConfig, withSettings } from '../../guests/config/vm-config.ts';
import type { ImageFormat, Storage } from '../../guests/storage/storage.ts';
import { defaultFormat } from '../../guests/vm/new-volumes.ts';
import { cloudInitVolume, isCloudInitDrive } from '../../guests/vm/owned-volumes.ts';
import { parseVolumeId } from '../../schema/guest-names.ts';
import type { Archive } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { VmRestoreRequest } from './restore-request.ts';
import { readBlob } from './restore-source.ts';
import { archiveOf } from './vm-disk.ts';

export const CONFIG_BLOB = 'qemu-server.conf';
export const FIREWALL_BLOB = 'qemu-server.fw';

export interface DiskToRestore {
  readonly drive: Drive;
  readonly archive: Archive;
  readonly storage: Storage;
  readonly format: ImageFormat;
}

export interface RestorePlan {
  /** With everything but the disks that are restored. */
  readonly config: VmConfig;
  readonly disks: readonly DiskToRestore[];
  readonly firewall: string | undefined;
}

type PlanRequest = Pick<
  VmRestoreRequest,
  'node' | 'id' | 'snapshot' | 'storage' | 'format' | 'unique' | 'report' | 'signal'
> & {
  /** Of others nothing is asked: their storages need not be here. */
  readonly onlyDisks?: readonly string[];
};

/** @throws `not-found` for a snapshot that is of no virtual machine, and for a storage that is not here; `target-unfit`, `bad-argument`. */
export async function planRestore(request: PlanRequest): Promise<RestorePlan> {
  const { snapshot, report, signal } = request;
  const text = await readBlob(snapshot, CONFIG_BLOB, signal);
  if (text === undefined)
    throw new HoldfastError(
      'not-found',
      `${snapshot.name} has no ${CONFIG_BLOB}, so it is no backup of a virtual machine; restore its archives one by one with holdfast restore`,
    );
  const { config, diskMap } = cleanImportedConfig(text);
  const disks: DiskToRestore[] = [];
  const changed: Record<string, string> = {};
  const left: string[] = [];
  for (const key of DISK_KEYS) {
    const value = config.values.get(key);
    if (value === undefined || request.onlyDisks?.includes(key) === false) continue;
    const drive = parseDrive(key, value);
    const mapped = diskMap.get(key);
    const archive = archiveFor(snapshot.archives, key, mapped);
    if (archive !== undefined) {
      disks.push(await planDisk(request, drive, archive, mapped));
      left.push(key);
    } else if (drive.media === 'cdrom') changed[key] = await planMedium(request, drive);
    else {
      report.warn(`${key} (${drive.file}) is not in the backup, and is left out of the configuration`);
      left.push(key);
    }
  }
  requireAllUsed(request, disks);
  const isTemplate = config.values.get('template') === '1';
  if (isTemplate) report.warn('the backup is of a template; it is restored as a virtual machine');
  const kept = withSettings(config, changed, isTemplate ? [...left, 'template'] : left);
  return {
    config: withIdentity(kept, request.unique),
    disks,
    firewall: await readBlob(snapshot, FIREWALL_BLOB, signal),
  };
}

function archiveFor(archives: readonly Archive[], key: string, mapped: ArchivedDisk | undefined): Archive | undefined {
  const name = mapped === undefined ? archiveOf(key) : `${mapped.device}.img`;
  return archives.find((archive) => archive.name === name && archive.kind === 'image');
}

async function planDisk(
  { node, storage, format }: PlanRequest,
  drive: Drive,
  archive: Archive,
  mapped: ArchivedDisk | undefined,
): Promise<DiskToRestore> {
  const wanted = storage ?? mapped?.storage ?? '';
  if (wanted === '')
    throw new HoldfastError(
      'bad-argument',
      `${drive.key}: the backup does not say on which storage it was; name one with --storage`,
    );
  const known = mapped?.format === 'qcow2' || mapped?.format === 'raw' ? mapped.format : 'raw';
  // The TPM's program knows raw files only.
  const chosen = drive.bus === 'tpmstate' ? 'raw' : (format ?? known);
  return { drive, archive, storage: await requireStorage(node, wanted, drive.key), format: chosen };
}

async function requireStorage({ storages }: PlanRequest['node'], id: string, key: string): Promise<Storage> {
  try {
    const storage = await storages.get(id);
    const { active, reason } = await storage.status();
    if (!active) throw new HoldfastError('target-unfit', `storage '${id}' is not active: ${reason}`);
    if (storage.content.includes('images')) return storage;
    throw new HoldfastError(
      'target-unfit',
      `storage '${id}' takes no disks: its content is ${storage.content.join(', ')}`,
    );
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    throw new HoldfastError(
      error.code,
      `${key} cannot be restored: ${error.message}; name another storage with --storage`,
      {
        cause: error,
      },
    );
  }
}

/** A disc that is not on this node, and a cloud-init drive whose storage is not, leave the drive empty. */
async function planMedium(request: PlanRequest, drive: Drive): Promise<string> {
  const { node, report } = request;
  if (drive.file === 'none' || drive.file === 'cdrom') return printDrive(drive);
  try {
    if (isCloudInitDrive(drive)) return await planCloudInit(request, drive);
    if (/(^|[/:-])cloudinit(\.|$)/.test(drive.file))
      throw new HoldfastError('not-found', 'it is made by cloud-init settings');
    if (!drive.file.startsWith('/')) await node.storages.volume(drive.file);
    return printDrive(drive);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    report.warn(`${drive.key}: ${drive.file} is not restored (${error.message}); the drive is empty`);
    return printDrive({ ...drive, file: 'none', size: undefined });
  }
}

/** The drive is named, and made when the guest starts. */
async function planCloudInit({ node, id, storage: wanted, format }: PlanRequest, drive: Drive): Promise<string> {
  const storage = await requireStorage(node, wanted ?? parseVolumeId(drive.file).storage, drive.key);
  const ending = /\.(raw|qcow2)$/.exec(drive.file)?.[1] as ImageFormat | undefined;
  const file = cloudInitVolume(storage.id, id, format ?? ending ?? defaultFormat(storage));
  return printDrive({ ...drive, file, size: DRIVE_BYTES, format: undefined });
}

function requireAllUsed({ snapshot, report }: PlanRequest, disks: readonly DiskToRestore[]): void {
  const used = new Set(disks.map(({ archive }) => archive.name));
  for (const { name, kind } of snapshot.archives)
    if (kind === 'image' && !used.has(name))
      report.warn(
        `${name} belongs to no drive of the configuration, and is not restored; get it with holdfast restore`,
      );
}

/** The guest sees by its generation id that it was put back in time. */
function withIdentity(config: VmConfig, unique: boolean): VmConfig {
  const fresh = freshIdentity();
  const changed: Record<string, string> = {};
  const generation = config.values.get('vmgenid');
  if (generation !== undefined && generation !== '0') changed.vmgenid = fresh.vmgenid;
  if (!unique) return withSettings(config, changed);
  for (const [key, value] of config.values)
    if (isNetKey(key)) changed[key] = printNetDevice({ ...parseNetDevice(key, value), macaddr: randomMac() });
  const others = (config.values.get('smbios1') ?? '')
    .split(',')
    .filter((part) => part !== '' && !part.startsWith('uuid='));
  changed.smbios1 = [fresh.smbios1, ...others].join(',');
  return withSettings(config, changed);
}
