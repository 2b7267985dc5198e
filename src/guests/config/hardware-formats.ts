// Property formats of processor, machine and devices other than drives and network devices. Names and values are Proxmox's; what
// reaches QEMU's command line has no commas and no blanks.
import type { PropertyFormat, PropertyRule } from './property-string.ts';

const BOOLEAN: PropertyRule = { kind: 'boolean' };
const NAME: PropertyRule = { kind: 'text', pattern: /^[A-Za-z0-9._-]{1,40}$/, grammar: 'letters, digits, ., _ and -' };
const VOLUME: PropertyRule = {
  kind: 'text',
  pattern: /^[A-Za-z][A-Za-z0-9._-]*:\S+$/,
  grammar: 'a volume: STORAGE:NAME',
};
const ENCODED: PropertyRule = {
  kind: 'text',
  pattern: /^[^\s,]{1,512}$/,
  grammar: 'text without blanks, or base64 with base64=1',
};
const HEX_ID: PropertyRule = { kind: 'text', pattern: /^0x[0-9a-fA-F]{4}$/, grammar: '0x and 4 hexadecimal digits' };
const CPU_SET = /^\d+(-\d+)?(;\d+(-\d+)?)*$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const PCI =
  /^(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}(\.[0-9a-f])?(;(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}(\.[0-9a-f])?)*$/i;
const USB = /^((0x)?[0-9a-f]{4}:(0x)?[0-9a-f]{4}|\d+-\d+(\.\d+)*|spice)$/i;
const MACHINE =
  /^(pc|q35|virt|pc(-i440fx)?-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|pc-q35-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|virt-\d+(\.\d+)+(\+pve\d+)?)$/;

export const CPU_FORMAT: PropertyFormat = {
  defaultKey: 'cputype',
  keys: {
    cputype: NAME,
    flags: {
      kind: 'text',
      pattern: /^[+-][a-zA-Z0-9_.-]+(;[+-][a-zA-Z0-9_.-]+)*$/,
      grammar: 'flags such as +aes;-pcid',
    },
    'guest-phys-bits': { kind: 'integer', min: 32, max: 64 },
    hidden: BOOLEAN,
    'hv-vendor-id': { kind: 'text', pattern: /^[a-zA-Z0-9]{1,12}$/, grammar: 'up to 12 letters and digits' },
    level: { kind: 'integer', min: 0 },
    'phys-bits': { kind: 'text', pattern: /^([89]|[1-5]\d|6[0-4]|host)$/, grammar: '8 to 64, or host' },
    'reported-model': NAME,
  },
};

export const MACHINE_FORMAT: PropertyFormat = {
  defaultKey: 'type',
  keys: {
    type: { kind: 'text', pattern: MACHINE, grammar: 'pc, q35 or a version of them such as pc-q35-7.2' },
    'aw-bits': { kind: 'integer', min: 32, max: 64 },
    'enable-s3': BOOLEAN,
    'enable-s4': BOOLEAN,
    viommu: { kind: 'enum', values: ['intel', 'virtio'] },
  },
};

export const MEMORY_FORMAT: PropertyFormat = {
  defaultKey: 'current',
  required: ['current'],
  keys: { current: { kind: 'integer', min: 16 } },
};

export const VGA_FORMAT: PropertyFormat = {
  defaultKey: 'type',
  keys: {
    type: {
      kind: 'enum',
      values: 'std cirrus vmware qxl qxl2 qxl3 qxl4 serial0 serial1 serial2 serial3 virtio virtio-gl none'.split(' '),
    },
    clipboard: { kind: 'enum', values: ['vnc'] },
    memory: { kind: 'integer', min: 4, max: 512 },
  },
};

export const NUMA_FORMAT: PropertyFormat = {
  required: ['cpus'],
  keys: {
    cpus: { kind: 'text', pattern: CPU_SET, grammar: 'processors such as 0-3;5' },
    hostnodes: { kind: 'text', pattern: CPU_SET, grammar: 'nodes of the host such as 0-1' },
    memory: { kind: 'number' },
    policy: { kind: 'enum', values: ['preferred', 'bind', 'interleave'] },
  },
};

export const USB_FORMAT: PropertyFormat = {
  defaultKey: 'host',
  keys: {
    host: { kind: 'text', pattern: USB, grammar: 'VENDOR:PRODUCT, BUS-PORT or spice' },
    mapping: NAME,
    usb3: BOOLEAN,
  },
};

export const HOSTPCI_FORMAT: PropertyFormat = {
  defaultKey: 'host',
  keys: {
    host: { kind: 'text', pattern: PCI, grammar: 'addresses such as 0000:01:00.0' },
    'device-id': HEX_ID,
    driver: { kind: 'enum', values: ['vfio', 'keep'] },
    'legacy-igd': BOOLEAN,
    mapping: NAME,
    mdev: NAME,
    pcie: BOOLEAN,
    rombar: BOOLEAN,
    romfile: { kind: 'text', pattern: /^[A-Za-z0-9._-]{1,255}$/, grammar: 'a file name' },
    'sub-device-id': HEX_ID,
    'sub-vendor-id': HEX_ID,
    'vendor-id': HEX_ID,
    'x-vga': BOOLEAN,
  },
};

export const AUDIO_FORMAT: PropertyFormat = {
  required: ['device'],
  keys: {
    device: { kind: 'enum', values: ['ich9-intel-hda', 'intel-hda', 'AC97'] },
    driver: { kind: 'enum', values: ['spice', 'none'] },
  },
};

export const RNG_FORMAT: PropertyFormat = {
  defaultKey: 'source',
  required: ['source'],
  keys: {
    source: { kind: 'enum', values: ['/dev/urandom', '/dev/random', '/dev/hwrng'] },
    max_bytes: { kind: 'integer', min: 0 },
    period: { kind: 'integer', min: 0 },
  },
};

export const WATCHDOG_FORMAT: PropertyFormat = {
  defaultKey: 'model',
  keys: {
    model: { kind: 'enum', values: ['i6300esb', 'ib700'] },
    action: { kind: 'enum', values: ['reset', 'shutdown', 'poweroff', 'pause', 'debug', 'none'] },
  },
};

export const IVSHMEM_FORMAT: PropertyFormat = {
  required: ['size'],
  keys: { size: { kind: 'integer', min: 1 }, name: NAME },
};

export const SPICE_FORMAT: PropertyFormat = {
  keys: { foldersharing: BOOLEAN, videostreaming: { kind: 'enum', values: ['off', 'all', 'filter'] } },
};

export const VIRTIOFS_FORMAT: PropertyFormat = {
  defaultKey: 'dirid',
  required: ['dirid'],
  keys: {
    dirid: NAME,
    cache: { kind: 'enum', values: ['auto', 'always', 'metadata', 'never'] },
    'direct-io': BOOLEAN,
    'expose-acl': BOOLEAN,
    'expose-xattr': BOOLEAN,
  },
};

export const SMBIOS_FORMAT: PropertyFormat = {
  keys: {
    uuid: { kind: 'text', pattern: UUID, grammar: 'a UUID' },
    base64: BOOLEAN,
    family: ENCODED,
    manufacturer: ENCODED,
    product: ENCODED,
    serial: ENCODED,
    sku: ENCODED,
    version: ENCODED,
  },
};

export const SEV_FORMAT: PropertyFormat = {
  defaultKey: 'type',
  keys: {
    type: { kind: 'enum', values: ['std', 'es', 'snp'] },
    'allow-smt': BOOLEAN,
    'kernel-hashes': BOOLEAN,
    'no-debug': BOOLEAN,
    'no-key-sharing': BOOLEAN,
  },
};

export const TDX_FORMAT: PropertyFormat = {
  defaultKey: 'type',
  keys: {
    type: { kind: 'enum', values: ['tdx'] },
    attestation: BOOLEAN,
    'vsock-cid': { kind: 'integer', min: 2 },
    'vsock-port': { kind: 'integer', min: 0 },
  },
};

export const CICUSTOM_FORMAT: PropertyFormat = {
  keys: { meta: VOLUME, network: VOLUME, user: VOLUME, vendor: VOLUME },
};
