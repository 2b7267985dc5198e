// The keys of a virtual machine's configuration on the wire: what kind each is, and what it takes to change it. Which keys there are, and the
// grammar of their values, is the table of `guests/config`.
import { type TSchema, Type } from 'typebox';
import type { Privilege } from '../../auth/privileges.ts';
import { VM_KEYS, type VmKey } from '../../guests/config/vm-keys.ts';

/** Whose rules decide: a privilege on the guest, or what the value says of disks, networks and devices, or nobody but root@pam itself. */
export type KeyRight = Privilege | 'disk' | 'network' | 'device' | 'root';

export interface ConfigKey {
  readonly kind: 'text' | 'integer' | 'number' | 'boolean';
  readonly right: KeyRight;
}

const MAX_VALUE = 65_536;
const DEVICES = ['serial', 'usb', 'hostpci', 'virtiofs'];
const CDROM: ConfigKey = { kind: 'text', right: 'disk' };

export const CONFIG_KEYS: ReadonlyMap<string, ConfigKey> = new Map([
  ...VM_KEYS.flatMap((key) => namesOf(key).map((name) => [name, { kind: kindOf(key), right: rightOf(key) }] as const)),
  ['cdrom', CDROM],
]);

/** Each key as an optional parameter. An empty text clears a key, whatever its kind. */
export const CONFIG_PARAMETERS: Readonly<Record<string, TSchema>> = Object.fromEntries(
  [...CONFIG_KEYS].map(([name, { kind }]) => [name, Type.Optional(schemaOf(kind))]),
);

function namesOf({ name, count }: VmKey): string[] {
  return count === undefined ? [name] : Array.from({ length: count }, (_, index) => `${name}${index}`);
}

function kindOf({ rule }: VmKey): ConfigKey['kind'] {
  switch (rule.kind) {
    case 'integer':
      return 'integer';
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    default:
      return 'text';
  }
}

function rightOf({ name, rule, privilege }: VmKey): KeyRight {
  if (rule.kind === 'drive') return 'disk';
  if (rule.kind === 'net') return 'network';
  if (DEVICES.includes(name)) return 'device';
  // Cloudinit and Network are taken alike for it.
  if (name === 'ipconfig') return 'VM.Config.Cloudinit';
  if (privilege === 'root') return 'root';
  return privilege === 'PowerMgmt' ? 'VM.PowerMgmt' : `VM.Config.${privilege}`;
}

function schemaOf(kind: ConfigKey['kind']): TSchema {
  switch (kind) {
    case 'integer':
      return Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
    case 'number':
      return Type.Number({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
    case 'boolean':
      return Type.Boolean();
    default:
      return Type.String({ maxLength: MAX_VALUE });
  }
}

/** The settings among the parameters of a call, as texts; `cdrom` is another name of ide2. */
export function settingsOf(parameters: Readonly<Record<string, unknown>>): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined || !CONFIG_KEYS.has(name)) continue;
    const text = String(typeof value === 'boolean' ? Number(value) : value);
    if (name === 'cdrom') settings.ide2 = text === '' ? text : `${text},media=cdrom`;
    else settings[name] = text;
  }
  return settings;
}

/** A value as clients read it: numbers as such, booleans 0 and 1, everything else as the text that stands in the file. */
export function shownValue(key: string, value: string): string | number {
  if (key === 'cipassword') return '**********';
  const kind = CONFIG_KEYS.get(key)?.kind ?? 'text';
  const isNumber = kind !== 'text' && /^\d+(\.\d+)?$/.test(value);
  return isNumber ? Number(value) : value;
}
