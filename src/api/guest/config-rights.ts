// What it takes to change keys of a configuration: privileges on the guest by kind of key, on the storage of a disk, on the bridge of a network
// card; and what reaches into the host (raw devices, arguments of QEMU, paths) is for root@pam itself.
import type { Privilege } from '../../auth/privileges.ts';
import { ROOT_USER } from '../../schema/auth-id.ts';
import { ApiError } from '../dialect/failure.ts';
import { callerOf, type PrivilegeRule } from '../method.ts';
import { CONFIG_KEYS, type KeyRight } from './config-keys.ts';
import { type GuestCall, may, requirePrivilege } from './method.ts';
import type { VmSettings } from './services.ts';

/** `STORAGE:SIZE` asks for a new volume, `STORAGE:cloudinit` too. */
const NEW_VOLUME = /^([A-Za-z][A-Za-z0-9._-]*):(?:\d+(?:\.\d+)?|cloudinit)$/;
const OLD_VOLUME = /^([A-Za-z][A-Za-z0-9._-]*):(.+)$/;
const OWNED_VOLUME = /(?:^|\/)(?:vm|base)-(\d+)-/;

type Need = Pick<PrivilegeRule, 'path' | 'anyOf'> | 'root';

/** Holds changes of a guest's configuration, which has the values `before`, against the rights of the caller. @throws ApiError 403. */
export function requireConfigRights(
  call: GuestCall,
  vmid: number,
  {
    set,
    remove,
    before,
    pool,
  }: {
    readonly set: VmSettings;
    readonly remove: readonly string[];
    readonly before: VmSettings;
    /** Of a guest that is made for it: rights on the pool are as good as those on the guest. */
    readonly pool?: string | undefined;
  },
): void {
  const changes = [...Object.entries(set), ...remove.map((key) => [key, undefined] as const)];
  // What an earlier guest of the number left belongs to whoever may have that number, and not to every pool.
  const ownsVolumes = pool === undefined || may(call, `/vms/${vmid}`, 'VM.Allocate');
  for (const [key, value] of changes) {
    for (const need of needsOf(vmid, key, value, before[key], ownsVolumes)) {
      if (need === 'root') requireRoot(call, key);
      else if (pool === undefined || need.path !== `/vms/${vmid}` || !may(call, `/pool/${pool}`, ...need.anyOf))
        requirePrivilege(call, need.path, ...need.anyOf);
    }
  }
}

/** What a change of a key takes: all of it. `value` undefined: the key goes; `before` undefined: it comes. */
export function needsOf(
  vmid: number,
  key: string,
  value: string | undefined,
  before?: string,
  ownsVolumes = true,
): readonly Need[] {
  const right: KeyRight = CONFIG_KEYS.get(key)?.right ?? 'root';
  const onGuest = (...anyOf: Privilege[]): Need => ({ path: `/vms/${vmid}`, anyOf });
  switch (right) {
    case 'root':
      return ['root'];
    case 'disk':
      return needsOfDisk(ownsVolumes ? vmid : undefined, value, before, onGuest);
    case 'network':
      return [onGuest('VM.Config.Network'), ...needsOfBridge(value)];
    case 'device':
      return [onGuest('VM.Config.HWType'), ...(value === undefined ? [] : needsOfDevice(key, value))];
    case 'VM.Config.Cloudinit':
      return [onGuest('VM.Config.Cloudinit', 'VM.Config.Network')];
    default:
      return [onGuest(right)];
  }
}

/** A drive that comes and the one that it takes the place of may be of two kinds: a disk is put aside by a CD. */
function needsOfDisk(
  owner: number | undefined,
  value: string | undefined,
  before: string | undefined,
  onGuest: (...anyOf: Privilege[]) => Need,
): Need[] {
  const drives = [value, before].filter((each) => each !== undefined);
  if (drives.length === 0) return [onGuest('VM.Config.Disk', 'VM.Config.CDROM')];
  const kinds = new Set(drives.map((each) => (isCdrom(each) ? 'VM.Config.CDROM' : 'VM.Config.Disk')));
  return [...[...kinds].map((kind) => onGuest(kind)), ...needsOfVolumes(owner, value)];
}

function isCdrom(drive: string): boolean {
  const volume = volumeOf(drive);
  return partsOf(drive).options.get('media') === 'cdrom' || volume === 'none' || volume === 'cdrom';
}

function volumeOf(drive: string): string {
  const { bare, options } = partsOf(drive);
  return options.get('file') ?? options.get('volume') ?? bare ?? '';
}

function needsOfVolumes(owner: number | undefined, drive = ''): Need[] {
  const named = [volumeOf(drive), partsOf(drive).options.get('import-from') ?? ''];
  return named.filter((each) => each !== '' && each !== 'none').flatMap((each) => needsOfVolume(owner, each));
}

/** `guest`: whose volumes are the caller's to name. */
function needsOfVolume(guest: number | undefined, volume: string): Need[] {
  const [, forNew] = NEW_VOLUME.exec(volume) ?? [];
  if (forNew !== undefined) return [{ path: `/storage/${forNew}`, anyOf: ['Datastore.AllocateSpace'] }];
  const [, storage, name = ''] = OLD_VOLUME.exec(volume) ?? [];
  // A path of the host, or its own drive.
  if (storage === undefined) return ['root'];
  const owner = OWNED_VOLUME.exec(name)?.[1];
  if (guest !== undefined && owner === String(guest)) return [];
  // Another guest's disk holds what its owner wrote.
  if (owner !== undefined) return [{ path: `/storage/${storage}`, anyOf: ['Datastore.Allocate'] }];
  return [{ path: `/storage/${storage}`, anyOf: ['Datastore.AllocateSpace', 'Datastore.Audit'] }];
}

/**
 * A copy of a guest takes room where its disks are, or on `storage`, and a place on its bridges. What is in its drives needs nothing more: whoever
 * may clone a guest may have what it has.
 * @throws ApiError 403.
 */
export function requireCloneRights(call: GuestCall, values: VmSettings, storage: string | undefined): void {
  for (const [key, value] of Object.entries(values)) {
    const right = CONFIG_KEYS.get(key)?.right;
    if (right === 'network') for (const { path, anyOf } of needsOfBridge(value)) requirePrivilege(call, path, ...anyOf);
    if (right !== 'disk' || key.startsWith('unused') || isCdrom(value)) continue;
    const target = storage ?? OLD_VOLUME.exec(volumeOf(value))?.[1];
    if (target !== undefined) requirePrivilege(call, `/storage/${target}`, 'Datastore.AllocateSpace');
  }
}

function needsOfBridge(value = ''): Exclude<Need, 'root'>[] {
  const bridge = partsOf(value).options.get('bridge');
  if (bridge === undefined) return [];
  const name = bridge.replace(/[^A-Za-z0-9._-]/g, '_');
  return [{ path: `/sdn/zones/localnetwork/${name}`, anyOf: ['SDN.Use'] }];
}

/** A console and a mapped device reach nothing of the host that nobody gave. */
function needsOfDevice(key: string, value: string): Need[] {
  const { bare, options } = partsOf(value);
  if (key.startsWith('serial') && value === 'socket') return [];
  if (key.startsWith('usb') && (bare === 'spice' || options.get('host') === 'spice')) return [];
  const mapping = options.get('mapping') ?? (key.startsWith('virtiofs') ? (options.get('dirid') ?? bare) : undefined);
  const kind = key.startsWith('usb') ? 'usb' : key.startsWith('hostpci') ? 'pci' : 'dir';
  const isRaw = options.has('host') || (bare !== undefined && kind !== 'dir');
  if (mapping === undefined || isRaw || !/^[A-Za-z0-9_-]+$/.test(mapping)) return ['root'];
  return [{ path: `/mapping/${kind}/${mapping}`, anyOf: ['Mapping.Use'] }];
}

/** root@pam with its password, and not through a token. @throws ApiError 403. */
function requireRoot(call: GuestCall, what: string): void {
  if (callerOf(call) !== ROOT_USER)
    throw new ApiError(403, 'permission-denied', `only root can set '${what.slice(0, 100)}' config`);
}

/** Of `a,b=c`: what stands alone, and what has a name. */
function partsOf(value: string): { bare: string | undefined; options: ReadonlyMap<string, string> } {
  const parts = value.split(',');
  const named = parts.filter((part) => part.includes('='));
  return {
    bare: parts.find((part) => part !== '' && !part.includes('=')),
    options: new Map(
      named.map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)] as const),
    ),
  };
}
