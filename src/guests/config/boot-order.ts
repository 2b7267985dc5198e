// The order in which a virtual machine tries its devices: `boot: order=scsi0;net0`, the older letters with `bootdisk`, or the default.
import { HoldfastError } from '../../util/errors.ts';
import { DISK_KEYS, isDiskKey, parseDrive } from './drive.ts';
import { isNetKey, NET_COUNT } from './net-device.ts';

const LEGACY = /^[acdn]{1,4}$/;
const DEFAULT_LETTERS = 'cdn';

export type BootOption =
  | { readonly kind: 'order'; readonly devices: readonly string[] }
  | { readonly kind: 'legacy'; readonly letters: string };

/** Reads the value of `boot`; `order=` alone boots from nothing. @throws `bad-argument`. */
export function parseBoot(value: string): BootOption {
  const letters = /^(?:legacy=)?([a-z]*)$/.exec(value)?.[1];
  if (letters !== undefined && LEGACY.test(letters)) return { kind: 'legacy', letters };
  const list = /^order=(.*)$/.exec(value)?.[1];
  if (list === undefined) throw bad(value, 'write order=scsi0;net0');
  const devices = list.split(';').filter((device) => device !== '');
  for (const device of devices) if (!mayBoot(device)) throw bad(value, `'${device}' is no device to boot from`);
  if (new Set(devices).size < devices.length) throw bad(value, 'a device is there twice');
  return { kind: 'order', devices };
}

/**
 * The keys of the devices to try, first one first; only such as the configuration has.
 * Unset, and with the older letters, it is as in Proxmox: the first disk (or `bootdisk`), the CD drives, the network.
 * @throws `bad-argument` for a value that cannot be read.
 */
export function bootOrder(values: ReadonlyMap<string, string>): string[] {
  const boot = parseBoot(values.get('boot') ?? DEFAULT_LETTERS);
  if (boot.kind === 'order') return boot.devices.filter((device) => values.has(device));
  const drives = DISK_KEYS.filter((key) => values.has(key) && mayBoot(key)).map((key) =>
    parseDrive(key, values.get(key) as string),
  );
  const disks = drives.filter(({ media }) => media === 'disk').map(({ key }) => key);
  const bootdisk = values.get('bootdisk');
  const byLetter: Readonly<Record<string, readonly string[]>> = {
    c: bootdisk !== undefined && disks.includes(bootdisk) ? [bootdisk] : disks.slice(0, 1),
    d: drives.filter(({ media }) => media === 'cdrom').map(({ key }) => key),
    n: Array.from({ length: NET_COUNT }, (_, index) => `net${index}`).filter((key) => values.has(key)),
  };
  return [...new Set([...boot.letters].flatMap((letter) => byLetter[letter] ?? []))];
}

function mayBoot(device: string): boolean {
  if (isDiskKey(device)) return !/^(efidisk|tpmstate)/.test(device);
  return isNetKey(device) || /^(usb|hostpci)(0|[1-9]\d?)$/.test(device);
}

function bad(value: string, problem: string): HoldfastError {
  return new HoldfastError('bad-argument', `boot: '${value}' is no order: ${problem}`, { data: { key: 'boot' } });
}
