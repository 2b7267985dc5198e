// A disk as QEMU's block nodes and device. From below: `f-KEY` the file, `d-KEY` its format (every dirty bitmap lives there), `t-KEY` a throttle node, which is
// what the device sees: it carries the I/O limits and is the place where a backup is swapped in and out. The same nodes are given on the command
// line and to `blockdev-add`.
import { HoldfastError } from '../../util/errors.ts';
import { pciAddress } from './pci-addresses.ts';

export type CacheMode = 'none' | 'writethrough' | 'writeback' | 'unsafe' | 'directsync';

/** Operations and bytes a second; QEMU's `ThrottleLimits`. */
export type ThrottleLimits = Readonly<Record<string, number>>;

export interface DiskPlan {
  /** `scsi0`, `virtio1`, `ide2`, `efidisk0`, ... */
  readonly key: string;
  readonly bus: 'ide' | 'sata' | 'scsi' | 'virtio' | 'efidisk';
  readonly index: number;
  readonly media: 'disk' | 'cdrom';
  /** Undefined for a drive without a medium. */
  readonly path: string | undefined;
  readonly format: 'raw' | 'qcow2';
  /** What the guest sees of a raw image that may be larger, in bytes; undefined for all of it. */
  readonly visibleBytes: number | undefined;
  readonly isBlockDevice: boolean;
  readonly isReadOnly: boolean;
  readonly cache: CacheMode;
  /** Whether the file system takes O_DIRECT. */
  readonly canBeDirect: boolean;
  readonly aio: 'threads' | 'native' | 'io_uring' | undefined;
  readonly discards: boolean;
  readonly detectZeroes: boolean;
  readonly isSolidState: boolean;
  readonly serial: string | undefined;
  readonly wwn: string | undefined;
  readonly rerror: string | undefined;
  readonly werror: string | undefined;
  readonly limits: ThrottleLimits;
  /** Where in the boot order; undefined when it is not booted from. */
  readonly bootIndex: number | undefined;
}

export type BlockNode = Readonly<Record<string, unknown>> & { readonly 'node-name': string };

export const nodeNames = (key: string) => ({
  file: `f-${key}`,
  format: `d-${key}`,
  throttle: `t-${key}`,
  group: `tg-${key}`,
});

/** The throttle group of a disk, an object that its node refers to. */
export function throttleGroup({ key, limits }: Pick<DiskPlan, 'key' | 'limits'>): Readonly<Record<string, unknown>> {
  return { 'qom-type': 'throttle-group', id: nodeNames(key).group, limits };
}

/** The disk's nodes, lowest first; none for a drive without a medium. */
export function diskNodes(disk: DiskPlan): BlockNode[] {
  if (disk.path === undefined) return [];
  const { file, format } = nodeNames(disk.key);
  const cache = { direct: isDirect(disk), 'no-flush': disk.cache === 'unsafe' };
  const shared = { ...(disk.discards && { discard: 'unmap' }), 'read-only': disk.isReadOnly };
  return [
    {
      driver: disk.isBlockDevice ? 'host_device' : 'file',
      'node-name': file,
      filename: disk.path,
      aio: isDirect(disk) ? (disk.aio ?? 'threads') : 'threads',
      cache,
      ...shared,
    },
    {
      driver: disk.format,
      'node-name': format,
      file,
      ...(disk.visibleBytes !== undefined && { size: disk.visibleBytes }),
      cache,
      ...shared,
      ...(disk.detectZeroes && { 'detect-zeroes': disk.discards ? 'unmap' : 'on' }),
    },
    throttleNode(disk, format),
  ];
}

/** The throttle node over `below`: what `blockdev-reopen` has to be told in full whenever the node below changes. */
export function throttleNode(disk: Pick<DiskPlan, 'key' | 'discards' | 'isReadOnly'>, below: string): BlockNode {
  const { throttle, group } = nodeNames(disk.key);
  return {
    driver: 'throttle',
    'node-name': throttle,
    'throttle-group': group,
    file: below,
    ...(disk.discards && { discard: 'unmap' }),
    'read-only': disk.isReadOnly,
  };
}

function isDirect(disk: DiskPlan): boolean {
  return disk.canBeDirect && (disk.cache === 'none' || disk.cache === 'directsync');
}

/** The device that the guest sees. `controllers` says which bus a SCSI disk is on. @throws `bad-argument`. */
export function diskDevice(disk: DiskPlan, controllers: Controllers): Readonly<Record<string, unknown>> {
  const { key, index } = disk;
  const isCd = disk.media === 'cdrom';
  const shared = {
    id: key,
    ...(disk.path !== undefined && { drive: nodeNames(key).throttle }),
    ...(disk.bootIndex !== undefined && { bootindex: disk.bootIndex }),
    ...(disk.serial !== undefined && { serial: disk.serial }),
    ...(!isCd && { 'write-cache': disk.cache === 'writethrough' || disk.cache === 'directsync' ? 'off' : 'on' }),
    ...(disk.rerror !== undefined && { rerror: disk.rerror }),
    ...(disk.werror !== undefined && { werror: disk.werror }),
  };
  const rotation = disk.isSolidState ? { rotation_rate: 1 } : {};
  const wwn = disk.wwn === undefined ? {} : { wwn: disk.wwn };
  switch (disk.bus) {
    case 'virtio':
      if (isCd) throw new HoldfastError('bad-argument', `${key}: a CD drive is an ide, sata or scsi one`);
      return { driver: 'virtio-blk-pci', ...shared, ...pciAddress(key) };
    case 'ide':
      return {
        driver: isCd ? 'ide-cd' : 'ide-hd',
        ...shared,
        ...rotation,
        ...wwn,
        // An i440fx has two channels of two drives, a q35 one drive a channel.
        bus: controllers.family === 'q35' ? `ide.${index}` : `ide.${index >> 1}`,
        unit: controllers.family === 'q35' ? 0 : index & 1,
      };
    case 'sata':
      return { driver: isCd ? 'ide-cd' : 'ide-hd', ...shared, ...rotation, ...wwn, bus: `ahci0.${index}` };
    case 'scsi':
      return { driver: isCd ? 'scsi-cd' : 'scsi-hd', ...shared, ...rotation, ...wwn, ...scsiPlace(index, controllers) };
    case 'efidisk':
      throw new HoldfastError('bad-argument', `${key} is no device of its own`);
  }
}

export interface Controllers {
  readonly family: 'i440fx' | 'q35';
  /** `scsihw` of the configuration. */
  readonly scsi: string;
}

/** LSI and its like take 7 disks a controller. */
const DISKS_PER_LSI = 7;
const DRIVERS: Readonly<Record<string, string>> = {
  lsi: 'lsi53c895a',
  lsi53c810: 'lsi53c810',
  megasas: 'megasas',
  pvscsi: 'pvscsi',
  'virtio-scsi-pci': 'virtio-scsi-pci',
  'virtio-scsi-single': 'virtio-scsi-pci',
};

function scsiPlace(index: number, { scsi }: Controllers): Readonly<Record<string, unknown>> {
  if (scsi === 'virtio-scsi-single') return { bus: `virtioscsi${index}.0`, channel: 0, 'scsi-id': 0, lun: index };
  if (scsi === 'virtio-scsi-pci') return { bus: 'scsihw0.0', channel: 0, 'scsi-id': 0, lun: index };
  return { bus: `scsihw${Math.floor(index / DISKS_PER_LSI)}.0`, 'scsi-id': index % DISKS_PER_LSI };
}

/** The controllers that these disks need. @throws `bad-argument` for a `scsihw` that is not known. */
export function controllerDevices(
  disks: readonly DiskPlan[],
  controllers: Controllers,
): Readonly<Record<string, unknown>>[] {
  const driver = DRIVERS[controllers.scsi];
  if (driver === undefined)
    throw new HoldfastError(
      'bad-argument',
      `scsihw: '${controllers.scsi}' is not one of ${Object.keys(DRIVERS).join(', ')}`,
    );
  const ids = new Set<string>();
  for (const { bus, index } of disks) {
    if (bus === 'sata') ids.add('ahci0');
    if (bus === 'scsi') ids.add(String(scsiPlace(index, controllers).bus).replace(/\.0$/, ''));
  }
  return [...ids].map((id) => ({ driver: id === 'ahci0' ? 'ahci' : driver, id, ...pciAddress(id) }));
}
