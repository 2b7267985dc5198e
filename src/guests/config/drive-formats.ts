// The options that drives take, by kind of drive. Names and values are Proxmox's.
import type { PropertyFormat, PropertyRule } from './property-string.ts';

const RATES = ['', '_rd', '_wr'] as const;

/** Limits of a drive: operations (`iops`) or MiB (`mbps`) in a second, with bursts and their length in seconds. */
export const LIMIT_KEYS = [
  ...RATES.flatMap((way) => [`iops${way}`, `iops${way}_max`, `iops${way}_max_length`] as const),
  ...RATES.flatMap((way) => [`mbps${way}`, `mbps${way}_max`, `bps${way}_max_length`] as const),
] as const;
export type LimitKey = (typeof LIMIT_KEYS)[number];

const BOOLEAN: PropertyRule = { kind: 'boolean' };
const COUNT: PropertyRule = { kind: 'integer', min: 0 };
const FILE: PropertyRule = { kind: 'text', grammar: 'a volume, a path, none or cdrom' };
const IMAGE: PropertyRule = { kind: 'enum', values: ['raw', 'qcow2', 'vmdk', 'qed', 'qcow', 'cloop'] };

function limitRules(): Record<string, PropertyRule> {
  const rules: Record<string, PropertyRule> = {};
  for (const key of LIMIT_KEYS) {
    const length = key.endsWith('_max_length');
    rules[key] = key.startsWith('mbps') ? { kind: 'number' } : { kind: 'integer', min: length ? 1 : 0 };
  }
  for (const way of RATES) rules[`bps${way}`] = COUNT;
  return rules;
}

const NAME = { defaultKey: 'file', required: ['file'], aliases: { volume: 'file' } } as const;

export const PLAIN_FORMAT: PropertyFormat = {
  ...NAME,
  keys: {
    ...limitRules(),
    file: FILE,
    aio: { kind: 'enum', values: ['native', 'threads', 'io_uring'] },
    backup: BOOLEAN,
    cache: { kind: 'enum', values: ['none', 'writethrough', 'writeback', 'unsafe', 'directsync'] },
    detect_zeroes: BOOLEAN,
    discard: { kind: 'enum', values: ['ignore', 'on'] },
    format: IMAGE,
    'import-from': FILE,
    iothread: BOOLEAN,
    media: { kind: 'enum', values: ['disk', 'cdrom'] },
    model: { kind: 'text', pattern: /^[-%a-zA-Z0-9_.!~*'()]{1,120}$/, grammar: 'percent-encoded text' },
    product: { kind: 'text', pattern: /^[A-Za-z0-9\-_\s]{1,16}$/, grammar: 'up to 16 letters, digits, - and _' },
    queues: { kind: 'integer', min: 2 },
    replicate: BOOLEAN,
    rerror: { kind: 'enum', values: ['ignore', 'report', 'stop'] },
    ro: BOOLEAN,
    scsiblock: BOOLEAN,
    serial: {
      kind: 'text',
      pattern: /^[-%a-zA-Z0-9_.!~*'()]{1,60}$/,
      grammar: 'percent-encoded text of up to 60 characters',
    },
    shared: BOOLEAN,
    size: { kind: 'size' },
    snapshot: BOOLEAN,
    ssd: BOOLEAN,
    vendor: { kind: 'text', pattern: /^[A-Za-z0-9\-_\s]{1,8}$/, grammar: 'up to 8 letters, digits, - and _' },
    werror: { kind: 'enum', values: ['enospc', 'ignore', 'report', 'stop'] },
    wwn: { kind: 'text', pattern: /^0x[0-9a-fA-F]{16}$/, grammar: '0x and 16 hexadecimal digits' },
  },
};

export const EFI_FORMAT: PropertyFormat = {
  ...NAME,
  keys: {
    file: FILE,
    efitype: { kind: 'enum', values: ['2m', '4m'] },
    format: IMAGE,
    'import-from': FILE,
    'ms-cert': { kind: 'enum', values: ['2011', '2023', '2023w', '2023k'] },
    'pre-enrolled-keys': BOOLEAN,
    size: { kind: 'size' },
  },
};

export const TPM_FORMAT: PropertyFormat = {
  ...NAME,
  keys: {
    file: FILE,
    format: IMAGE,
    'import-from': FILE,
    size: { kind: 'size' },
    version: { kind: 'enum', values: ['v1.2', 'v2.0'] },
  },
};

export const UNUSED_FORMAT: PropertyFormat = { ...NAME, keys: { file: FILE } };
