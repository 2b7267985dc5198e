// The drives of a configuration as planned disks: volumes looked up, options turned into QEMU's.
import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { bootOrder } from '../config/boot-order.ts';
import { decodeLine } from '../config/description-text.ts';
import { DISK_KEYS, type Drive, parseDrive } from '../config/drive.ts';
import type { VmConfig } from '../config/vm-config.ts';
import { readQcow2Header } from '../storage/qcow2-header.ts';
import type { Storages } from '../storage/storages.ts';
import type { CacheMode, DiskPlan, ThrottleLimits } from './disk-nodes.ts';
import { variablesBytes } from './firmware.ts';

/** Of the file systems and disks that there are. */
const MAX_DIRECT_BLOCK_BYTES = 4096;

/** A planned disk, and what a backup needs to know of it. */
export interface PlannedDisk extends DiskPlan {
  /** Volume id or absolute path; undefined for a drive without a medium. */
  readonly volume: string | undefined;
  /** Whether all that the guest sees is in this one file: no block device, no image with a backing file or a data file of its own. */
  readonly isAlone: boolean;
  /** Whether QEMU keeps bitmaps in the image: qcow2 that stands alone, but for that of before QEMU 1.1. */
  readonly storesBitmaps: boolean;
  /** Whether backups take it along. */
  readonly isBackedUp: boolean;
}

/** Every drive but tpmstate0, in Proxmox's order. @throws `not-found`, `bad-argument`, `source-failed`. */
export async function planDisks(config: VmConfig, storages: Storages): Promise<PlannedDisk[]> {
  return await planDrives(config, storages, () => true);
}

/** Those that backups take along: of others nothing is asked, which may be long gone. @throws as `planDisks`. */
export async function planBackedUpDisks(config: VmConfig, storages: Storages): Promise<PlannedDisk[]> {
  return await planDrives(config, storages, ({ backup, media }) => backup && media === 'disk');
}

async function planDrives(
  config: VmConfig,
  storages: Storages,
  isWanted: (drive: Drive) => boolean,
): Promise<PlannedDisk[]> {
  const order = bootOrder(config.values);
  const disks: PlannedDisk[] = [];
  for (const key of DISK_KEYS) {
    const value = config.values.get(key);
    if (value === undefined || key.startsWith('tpmstate')) continue;
    const drive = parseDrive(key, value);
    if (isWanted(drive)) disks.push(await planDisk(drive, storages, order));
  }
  return disks;
}

/** `order` is the boot order, first device first. */
export async function planDisk(drive: Drive, storages: Storages, order: readonly string[]): Promise<PlannedDisk> {
  const place = order.indexOf(drive.key);
  const located = await locate(drive, storages);
  const isCd = drive.media === 'cdrom';
  return {
    key: drive.key,
    bus: drive.bus as DiskPlan['bus'],
    index: drive.index,
    media: drive.media,
    ...located,
    visibleBytes: drive.bus === 'efidisk' && located.format === 'raw' ? variablesBytes(drive) : undefined,
    isReadOnly: isCd || drive.ro,
    cache: (drive.cache ?? 'none') as CacheMode,
    aio: drive.aio as DiskPlan['aio'],
    discards: drive.discard,
    detectZeroes: drive.detectZeroes && drive.discard,
    isSolidState: drive.ssd && drive.bus !== 'virtio',
    serial: drive.serial === undefined ? undefined : decodeLine(drive.serial),
    wwn: drive.rest.wwn,
    rerror: drive.rerror,
    werror: drive.werror,
    limits: throttleLimits(drive),
    bootIndex: place < 0 || drive.bus === 'efidisk' ? undefined : 100 + place,
    isBackedUp: drive.backup && !isCd && located.path !== undefined,
  };
}

type Located = Pick<
  PlannedDisk,
  'path' | 'format' | 'isBlockDevice' | 'canBeDirect' | 'volume' | 'isAlone' | 'storesBitmaps'
>;

/** A drive without a medium. */
const NOTHING: Located = {
  path: undefined,
  format: 'raw',
  isBlockDevice: false,
  canBeDirect: false,
  volume: undefined,
  isAlone: false,
  storesBitmaps: false,
};

/** @throws as `planDisks`, with the drive named. */
async function locate(drive: Drive, storages: Storages): Promise<Located> {
  try {
    return await lookAt(drive, storages);
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof HoldfastError)
      throw new HoldfastError(error.code, `${drive.key}: ${message}`, { cause: error, data: error.data });
    if (systemCode(error) === undefined) throw error;
    throw new HoldfastError('source-failed', `${drive.key}: '${drive.file}' cannot be looked at: ${message}`, {
      cause: error,
    });
  }
}

async function lookAt(drive: Drive, storages: Storages): Promise<Located> {
  if (drive.file === 'none') return NOTHING;
  if (drive.file === 'cdrom')
    throw new HoldfastError('bad-argument', `the host's own CD drive cannot be used; give it an image or 'none'`);
  const image = drive.file.startsWith('/')
    ? { path: drive.file, format: (drive.format ?? 'raw') as 'raw' | 'qcow2' }
    : await storages.volume(drive.file);
  if (image.format !== 'raw' && image.format !== 'qcow2')
    throw new HoldfastError('bad-argument', `format ${image.format} is not one a guest runs on; use raw or qcow2`);
  const found = await stat(image.path).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw error;
    throw new HoldfastError('not-found', `volume '${drive.file}' does not exist (${image.path})`);
  });
  const isBlockDevice = found.isBlockDevice();
  // Opening a pipe would wait for ever.
  if (!isBlockDevice && !found.isFile())
    throw new HoldfastError(
      'bad-argument',
      `'${drive.file}' is neither a file nor a block device (${image.path}); give it another volume`,
    );
  const header = image.format === 'qcow2' ? await readQcow2Header(image.path) : undefined;
  const isAlone = !isBlockDevice && header?.backingFile === undefined && header?.hasDataFile !== true;
  // QEMU cannot write to the end of a file that is no multiple of what its storage reads and writes at once.
  const isWhole = image.format !== 'raw' || found.size % MAX_DIRECT_BLOCK_BYTES === 0;
  return {
    ...image,
    isBlockDevice,
    canBeDirect: isWhole && (await takesDirectIo(image.path)),
    volume: drive.file,
    isAlone,
    storesBitmaps: image.format === 'qcow2' && isAlone && header?.version !== 2,
  };
}

/** Some file systems refuse O_DIRECT; QEMU would not start. */
async function takesDirectIo(path: string): Promise<boolean> {
  try {
    await (await open(path, constants.O_RDONLY | constants.O_DIRECT)).close();
    return true;
  } catch (error) {
    if (systemCode(error) === 'EINVAL') return false;
    throw error;
  }
}

/** `iops_rd=100,mbps_wr=10,...` as QEMU's ThrottleLimits. MiB are bytes there. */
export function throttleLimits(drive: Pick<Drive, 'limits'>): ThrottleLimits {
  const limits: Record<string, number> = {};
  for (const [option, value] of Object.entries(drive.limits)) {
    const [, unit, way, more] = /^(iops|mbps|bps)(|_rd|_wr)(|_max|_max_length)$/.exec(option) ?? [];
    if (unit === undefined || value === undefined) continue;
    const kind = unit === 'iops' ? 'iops' : 'bps';
    const suffix = { '': '', _max: '-max', _max_length: '-max-length' }[more ?? ''] ?? '';
    const direction = { '': 'total', _rd: 'read', _wr: 'write' }[way ?? ''] ?? 'total';
    const factor = unit === 'mbps' && more !== '_max_length' ? 1024 ** 2 : 1;
    if (value > 0) limits[`${kind}-${direction}${suffix}`] = Math.round(value * factor);
  }
  return limits;
}
