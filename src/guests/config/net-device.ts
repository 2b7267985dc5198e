// Network devices: the values of netN, written `MODEL=MAC,bridge=...`.
import { randomBytes } from 'node:crypto';
import { HoldfastError } from '../../util/errors.ts';
import { type PropertyFormat, parseProperties, printProperties } from './property-string.ts';

export const NET_COUNT = 32;

const MODELS = [
  'e1000',
  'e1000-82540em',
  'e1000-82544gc',
  'e1000-82545em',
  'e1000e',
  'i82551',
  'i82557b',
  'i82559er',
  'ne2k_isa',
  'ne2k_pci',
  'pcnet',
  'rtl8139',
  'virtio',
  'vmxnet3',
] as const;
export type NetModel = (typeof MODELS)[number];

const VLANS = /^\d+(-\d+)?(;\d+(-\d+)?)*$/;

const FORMAT: PropertyFormat = {
  defaultKey: 'model',
  required: ['model'],
  pair: { names: MODELS, nameKey: 'model', valueKey: 'macaddr' },
  keys: {
    model: { kind: 'enum', values: MODELS },
    macaddr: {
      kind: 'text',
      pattern: /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i,
      grammar: 'a unicast address such as BC:24:11:00:00:01',
    },
    // A name of a network device reaches `ip` and /sys: no slash, no blank, and what the kernel takes.
    bridge: { kind: 'text', pattern: /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/, grammar: 'a bridge such as vmbr0' },
    firewall: { kind: 'boolean' },
    'host-tunnel': { kind: 'boolean' },
    link_down: { kind: 'boolean' },
    mtu: { kind: 'integer', min: 1, max: 65_520 },
    queues: { kind: 'integer', min: 0, max: 64 },
    rate: { kind: 'number' },
    tag: { kind: 'integer', min: 1, max: 4094 },
    trunks: { kind: 'text', pattern: VLANS, grammar: 'VLANs such as 5;7-9' },
  },
};

export interface NetDevice {
  /** `net0`. */
  readonly key: string;
  readonly index: number;
  readonly model: NetModel;
  /** Upper case; undefined in what somebody wrote without one, never in a stored configuration. */
  readonly macaddr: string | undefined;
  readonly bridge: string | undefined;
  readonly firewall: boolean | undefined;
  readonly linkDown: boolean | undefined;
  readonly hostTunnel: boolean | undefined;
  /** Bytes; 1 takes the bridge's. */
  readonly mtu: number | undefined;
  readonly queues: number | undefined;
  /** MB in a second. */
  readonly rate: number | undefined;
  readonly tag: number | undefined;
  /** VLANs as they are written: `5;7-9`. */
  readonly trunks: string | undefined;
}

export function isNetKey(key: string): boolean {
  const index = /^net(0|[1-9]\d?)$/.exec(key)?.[1];
  return index !== undefined && Number(index) < NET_COUNT;
}

/** @throws `bad-argument`, which names `key`. */
export function parseNetDevice(key: string, value: string): NetDevice {
  if (!isNetKey(key))
    throw new HoldfastError('bad-argument', `'${key}' is no network device: write net0 to net${NET_COUNT - 1}`);
  const found = parseProperties(value, FORMAT, key);
  for (const range of found.trunks?.split(';') ?? []) requireVlans(key, range);
  const number = (name: string): number | undefined => (found[name] === undefined ? undefined : Number(found[name]));
  const flag = (name: string): boolean | undefined => (found[name] === undefined ? undefined : found[name] === '1');
  return {
    key,
    index: Number(key.slice('net'.length)),
    model: found.model as NetModel,
    macaddr: found.macaddr?.toUpperCase(),
    bridge: found.bridge,
    firewall: flag('firewall'),
    linkDown: flag('link_down'),
    hostTunnel: flag('host-tunnel'),
    mtu: number('mtu'),
    queues: number('queues'),
    rate: number('rate'),
    tag: number('tag'),
    trunks: found.trunks,
  };
}

/** @throws `bad-argument`. */
export function printNetDevice(device: NetDevice): string {
  const values: Record<string, string> = {};
  const { key: _key, index: _index, linkDown, hostTunnel, ...same } = device;
  const named = { ...same, link_down: linkDown, 'host-tunnel': hostTunnel };
  for (const [name, value] of Object.entries(named)) {
    if (value === undefined) continue;
    values[name] = typeof value === 'boolean' ? (value ? '1' : '0') : String(value);
  }
  return printProperties(values, FORMAT);
}

/** A new address with the prefix that Proxmox gives to guests. */
export function randomMac(): string {
  const tail = [...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0').toUpperCase());
  return ['BC', '24', '11', ...tail].join(':');
}

function requireVlans(key: string, range: string): void {
  const [first = 0, last = first] = range.split('-').map(Number);
  if (first >= 1 && last <= 4094 && first <= last) return;
  throw new HoldfastError('bad-argument', `${key}: '${range}' is no VLAN: trunks are 1 to 4094, such as 5;7-9`);
}
