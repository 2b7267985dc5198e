// Every key of a virtual machine's configuration: what its value is, which privilege changes it, and whether Holdfast acts on it.
// docs/operations.md has the same list; a test compares them.
import { HoldfastError } from '../../util/errors.ts';
import { parseAgentOption } from './agent-option.ts';
import { parseBoot } from './boot-order.ts';
import { parseIpConfig, parseNameservers, parseSearchDomains, parseSshKeys } from './cloud-init-options.ts';
import { isDiskKey, parseDrive, printDrive } from './drive.ts';
import * as formats from './hardware-formats.ts';
import { freshIdentity } from './identity.ts';
import { NET_COUNT, parseNetDevice, printNetDevice, randomMac } from './net-device.ts';
import { anyText, checked, decimal, flag, integer, oneOf, properties, type SettingRule, text } from './setting-rule.ts';
import { parseStartup } from './startup.ts';
import { parseTags, printTags } from './tags.ts';

/**
 * `VM.Config.Disk` and so on; `PowerMgmt` is VM.PowerMgmt; `root` stands for keys that only root may set. Of keys of cloud-init and of
 * `ipconfigN` Proxmox takes Cloudinit and Network alike.
 */
type PrivilegeGroup =
  | 'Disk'
  | 'CDROM'
  | 'CPU'
  | 'Memory'
  | 'Network'
  | 'HWType'
  | 'Options'
  | 'Cloudinit'
  | 'PowerMgmt'
  | 'root';

export interface VmKey {
  /** The key, or what stands before its number. */
  readonly name: string;
  /** For numbered keys: numbers go from 0 to `count - 1`. */
  readonly count: number | undefined;
  readonly rule: SettingRule;
  /** What counts when the key is not set. */
  readonly default: string | undefined;
  readonly privilege: PrivilegeGroup;
  /** False: the key is checked and kept, and changes nothing. */
  readonly acts: boolean;
}

const MAX_DESCRIPTION = 8192;
const MAX_VALUE = 64 * 1024;
const LABEL = '[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
const CPU_LIST = /^\d+(-\d+)?(\s*,\s*\d+(-\d+)?)*$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const DATE = /^(now|\d{4}-\d{1,2}-\d{1,2}(T\d{1,2}:\d{1,2}:\d{1,2})?)$/;
const VOLUME = /^[A-Za-z][A-Za-z0-9._-]*:[^\s:,]+$/;

const drive: SettingRule = {
  kind: 'drive',
  grammar: '[file=]VOLUME[,option=value...]',
  check: (value, key) => printDrive(parseDrive(key, value)),
};
const net: SettingRule = {
  kind: 'net',
  grammar: 'MODEL[=MAC][,bridge=...,option=value...]',
  check: (value, key) => {
    const device = parseNetDevice(key, value);
    return printNetDevice({ ...device, macaddr: device.macaddr ?? randomMac() });
  },
};
const tags: SettingRule = {
  kind: 'list',
  grammar: 'tags with ; between',
  check: (value) => printTags(parseTags(value)),
};
const generation = text('a UUID, 1 for a new one, 0 for none', new RegExp(`^0$|${UUID.source}`, 'i'));
const vmgenid: SettingRule = {
  ...generation,
  check: (value, key) => (value === '1' ? freshIdentity().vmgenid : generation.check(value, key)),
};
const description: SettingRule = {
  kind: 'text',
  grammar: `text of up to ${MAX_DESCRIPTION} characters`,
  check: (value, key) => {
    if (value.length <= MAX_DESCRIPTION) return value;
    throw new HoldfastError(
      'bad-argument',
      `${key}: it has ${value.length} characters and takes ${description.grammar}`,
    );
  },
};

const acts = (
  name: string,
  privilege: PrivilegeGroup,
  rule: SettingRule,
  byDefault?: string,
  count?: number,
): VmKey => ({
  name,
  count,
  rule,
  default: byDefault,
  privilege,
  acts: true,
});
const kept = (...entry: Parameters<typeof acts>): VmKey => ({ ...acts(...entry), acts: false });

/** In no order that matters. `numa` is there twice: as a key, and with numbers. */
export const VM_KEYS: readonly VmKey[] = [
  acts('name', 'Options', text('a DNS name', new RegExp(`^(?=.{1,253}$)${LABEL}(\\.${LABEL})*$`))),
  acts('description', 'Options', description),
  acts('tags', 'Options', tags),
  acts('onboot', 'Options', flag, '0'),
  acts('startup', 'Options', checked('properties', '[order=]N[,up=SECONDS][,down=SECONDS]', parseStartup)),
  acts('protection', 'Options', flag, '0'),
  acts('template', 'Options', flag, '0'),
  acts(
    'agent',
    'Options',
    checked('properties', '[enabled=]0|1[,freeze-fs=0|1,type=virtio|isa]', parseAgentOption),
    '0',
  ),
  acts('bios', 'Options', oneOf('seabios', 'ovmf'), 'seabios'),
  acts(
    'ostype',
    'Options',
    oneOf(...'other wxp w2k w2k3 w2k8 wvista win7 win8 win10 win11 l24 l26 solaris'.split(' ')),
    'other',
  ),
  acts('localtime', 'Options', flag, '0'),
  acts('reboot', 'Options', flag, '1'),
  acts('startdate', 'Options', text('now or YYYY-MM-DD[THH:MM:SS]', DATE), 'now'),
  acts('freeze', 'PowerMgmt', flag, '0'),
  acts(
    'lock',
    'root',
    oneOf(...'backup clone create migrate rollback snapshot snapshot-delete suspending suspended'.split(' ')),
  ),

  acts('cores', 'CPU', integer(1), '1'),
  acts('sockets', 'CPU', integer(1), '1'),
  acts('vcpus', 'CPU', integer(1)),
  acts('cpu', 'CPU', properties(formats.CPU_FORMAT), 'kvm64'),
  acts('cpulimit', 'CPU', decimal(128), '0'),
  acts('cpuunits', 'CPU', integer(1, 262_144), '100'),
  acts('affinity', 'CPU', text('processors such as 0,5,8-11', CPU_LIST)),
  acts('memory', 'Memory', properties(formats.MEMORY_FORMAT), '512'),
  acts('balloon', 'Memory', integer(0)),

  acts('acpi', 'HWType', flag, '1'),
  acts('kvm', 'HWType', flag, '1'),
  acts('tablet', 'HWType', flag, '1'),
  acts('machine', 'HWType', properties(formats.MACHINE_FORMAT), 'pc'),
  acts(
    'scsihw',
    'HWType',
    oneOf(...'lsi lsi53c810 virtio-scsi-pci virtio-scsi-single megasas pvscsi'.split(' ')),
    'lsi',
  ),
  acts('vga', 'HWType', properties(formats.VGA_FORMAT), 'std'),
  acts('serial', 'HWType', text('socket or a device below /dev', /^(socket|\/dev\/[A-Za-z0-9/._-]+)$/), undefined, 4),
  acts('rng', 'HWType', properties(formats.RNG_FORMAT), undefined, 1),
  acts('watchdog', 'HWType', properties(formats.WATCHDOG_FORMAT)),
  acts('smbios1', 'HWType', properties(formats.SMBIOS_FORMAT)),
  acts('vmgenid', 'HWType', vmgenid),
  acts(
    'hotplug',
    'HWType',
    checked('list', '0, 1 or a list of network, disk, cpu, memory, usb, cloudinit', requireHotplug),
    'network,disk,usb',
  ),

  acts('boot', 'Disk', checked('list', 'order=DEVICE;DEVICE...', parseBoot)),
  acts('bootdisk', 'Disk', checked('text', 'the key of a disk', requireDiskKey)),
  acts('ide', 'Disk', drive, undefined, 4),
  acts('sata', 'Disk', drive, undefined, 6),
  acts('scsi', 'Disk', drive, undefined, 31),
  acts('virtio', 'Disk', drive, undefined, 16),
  acts('efidisk', 'Disk', drive, undefined, 1),
  acts('tpmstate', 'Disk', drive, undefined, 1),
  acts('unused', 'Disk', drive, undefined, 256),
  acts('net', 'Network', net, undefined, NET_COUNT),

  acts('ciuser', 'Cloudinit', anyText('a user name')),
  acts('cipassword', 'Cloudinit', anyText('a password')),
  acts('citype', 'Cloudinit', oneOf('configdrive2', 'nocloud', 'opennebula')),
  acts('ciupgrade', 'Cloudinit', flag, '1'),
  acts('cicustom', 'Cloudinit', properties(formats.CICUSTOM_FORMAT)),
  acts('sshkeys', 'Cloudinit', checked('text', 'public keys, percent-encoded', parseSshKeys)),
  acts('nameserver', 'Cloudinit', checked('list', 'addresses', parseNameservers)),
  acts('searchdomain', 'Cloudinit', checked('list', 'domains', parseSearchDomains)),
  acts(
    'ipconfig',
    'Network',
    checked('properties', '[ip=...,gw=...,ip6=...,gw6=...]', (value, key) => parseIpConfig(key, value)),
    undefined,
    32,
  ),

  kept('arch', 'root', oneOf('x86_64', 'aarch64')),
  kept('args', 'root', anyText('arguments for QEMU')),
  acts('hookscript', 'root', text('a volume: STORAGE:snippets/NAME', VOLUME)),
  kept('autostart', 'Options', flag, '0'),
  kept('tdf', 'Options', flag, '0'),
  kept(
    'keyboard',
    'Options',
    oneOf(
      ...'de de-ch da en-gb en-us es fi fr fr-be fr-ca fr-ch hu is it ja lt mk nl no pl pt pt-br sv sl tr'.split(' '),
    ),
  ),
  kept('migrate_speed', 'Options', integer(0), '0'),
  kept('migrate_downtime', 'Options', decimal(), '0.1'),
  kept('spice_enhancements', 'root', properties(formats.SPICE_FORMAT)),
  kept('vmstatestorage', 'Disk', text('a storage', /^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$/)),
  kept('numa', 'CPU', flag, '0'),
  kept('numa', 'CPU', properties(formats.NUMA_FORMAT), undefined, 8),
  kept('shares', 'Memory', integer(0, 50_000), '1000'),
  kept('allow-ksm', 'Memory', flag, '1'),
  kept('hugepages', 'root', oneOf('any', '2', '1024')),
  kept('keephugepages', 'root', flag, '0'),
  kept('ivshmem', 'root', properties(formats.IVSHMEM_FORMAT)),
  kept('amd-sev', 'root', properties(formats.SEV_FORMAT)),
  kept('intel-tdx', 'root', properties(formats.TDX_FORMAT)),
  kept('audio', 'HWType', properties(formats.AUDIO_FORMAT), undefined, 1),
  kept('parallel', 'root', text('/dev/parportN or /dev/usb/lpN', /^\/dev\/(parport|usb\/lp)\d+$/), undefined, 4),
  kept('usb', 'HWType', properties(formats.USB_FORMAT), undefined, 14),
  kept('hostpci', 'HWType', properties(formats.HOSTPCI_FORMAT), undefined, 16),
  kept('virtiofs', 'HWType', properties(formats.VIRTIOFS_FORMAT), undefined, 10),
];

/** Keys that operations write into a configuration and nobody sets; they are kept as they are. */
const STATE_KEYS = new Set(
  'digest meta parent runningcpu runningmachine running-nets-host-mtu snapstate snaptime vmstate'.split(' '),
);

const SINGLE = new Map(VM_KEYS.filter(({ count }) => count === undefined).map((entry) => [entry.name, entry]));
const NUMBERED = new Map(VM_KEYS.filter(({ count }) => count !== undefined).map((entry) => [entry.name, entry]));

/** The table's entry for `scsi3` or `memory`; undefined for keys that nobody can set. */
export function findKey(key: string): VmKey | undefined {
  const single = SINGLE.get(key);
  if (single !== undefined) return single;
  const [, name = '', index] = /^([a-z]+)(0|[1-9]\d{0,2})$/.exec(key) ?? [];
  const entry = NUMBERED.get(name);
  return entry?.count !== undefined && Number(index) < entry.count ? entry : undefined;
}

/** The value as it is stored. @throws `bad-argument`, naming the key and what it takes; for unknown keys too. */
export function checkSetting(key: string, value: string): string {
  const entry = findKey(key);
  const refuse = (problem: string, cause?: unknown): HoldfastError =>
    new HoldfastError('bad-argument', problem, { cause, data: { key } });
  if (entry === undefined) throw refuse(`'${key}' is no key of a virtual machine's configuration`);
  if (key === 'description') return entry.rule.check(value, key);
  const trimmed = value.trim();
  if (trimmed === '') throw refuse(`${key}: the value is empty; it takes ${entry.rule.grammar}`);
  if (/\p{Cc}/u.test(trimmed) || trimmed.length > MAX_VALUE)
    throw refuse(
      `${key}: the value has control characters or is longer than ${MAX_VALUE}; it takes ${entry.rule.grammar}`,
    );
  return entry.rule.check(trimmed, key);
}

/** All of them checked; `cdrom=X` becomes `ide2=X,media=cdrom`. @throws `bad-argument`. */
export function checkSettings(settings: Readonly<Record<string, string>>): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [given, value] of Object.entries(settings)) {
    const key = given === 'cdrom' ? 'ide2' : given;
    if (key !== given && settings.ide2 !== undefined)
      throw new HoldfastError('bad-argument', `'cdrom' and 'ide2' are the same drive: give one of them`);
    result[key] = checkSetting(key, key === given || /,media=cdrom(,|$)/.test(value) ? value : `${value},media=cdrom`);
  }
  return result;
}

/** Options of drives that are kept and change nothing, when they are on. */
const IDLE_DRIVE_OPTIONS = ['iothread', 'scsiblock'] as const;

/**
 * What is set and changes nothing: keys (`args`, and such as are unknown), and options of drives (`scsi0.iothread`).
 * A drive that cannot be read is not judged here.
 */
export function keysWithoutEffect(config: { readonly values: ReadonlyMap<string, string> }): string[] {
  const found: string[] = [];
  for (const [key, value] of config.values) {
    if (STATE_KEYS.has(key)) continue;
    if (findKey(key)?.acts !== true) found.push(key);
    else if (isDiskKey(key))
      for (const option of IDLE_DRIVE_OPTIONS)
        if (new RegExp(`,${option}=(1|on|yes|true)(,|$)`, 'i').test(value)) found.push(`${key}.${option}`);
  }
  return found.sort();
}

function requireHotplug(value: string): void {
  if (/^[01]$/.test(value)) return;
  for (const kind of value.split(/[,;\s]+/))
    if (!/^(network|disk|cpu|memory|usb|cloudinit)$/.test(kind))
      throw new HoldfastError(
        'bad-argument',
        `hotplug: '${kind}' is none of network, disk, cpu, memory, usb, cloudinit`,
      );
}

function requireDiskKey(value: string): void {
  if (!isDiskKey(value)) throw new HoldfastError('bad-argument', `bootdisk: '${value}' is no key of a disk`);
}
