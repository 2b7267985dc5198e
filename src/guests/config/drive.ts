// Drives: the values of ideN, sataN, scsiN, virtioN, efidisk0, tpmstate0 and unusedN. Every option of the text is in the Drive, and
// printing one that was not changed gives the same options again.
import { parseVolumeId, requireStorageId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { EFI_FORMAT, LIMIT_KEYS, type LimitKey, PLAIN_FORMAT, TPM_FORMAT, UNUSED_FORMAT } from './drive-formats.ts';
import { type Properties, type PropertyFormat, parseProperties, printProperties } from './property-string.ts';
import { parseSize, printSize } from './size.ts';

/** In the order in which Proxmox looks for the disk to boot from. */
const COUNTS = { ide: 4, scsi: 31, virtio: 16, sata: 6, efidisk: 1, tpmstate: 1 } as const;
const UNUSED_COUNT = 256;

export type Bus = keyof typeof COUNTS | 'unused';

/** All keys of attached drives, in Proxmox's order: ide, scsi, virtio, sata, efidisk0, tpmstate0. */
export const DISK_KEYS: readonly string[] = Object.entries(COUNTS).flatMap(([bus, count]) =>
  Array.from({ length: count }, (_, index) => `${bus}${index}`),
);
const DISK_KEY_SET = new Set(DISK_KEYS);

/** Options not named here are in `rest`. The fields are what counts: a changed copy prints as changed. */
export interface Drive {
  /** `scsi0`. */
  readonly key: string;
  readonly bus: Bus;
  readonly index: number;
  /** `none` (no disc in it), `cdrom` (the host's drive), an absolute path, a volume id, or a new volume (`parseNewVolume`). */
  readonly file: string;
  readonly media: 'disk' | 'cdrom';
  /** Bytes, as the configuration has them: the volume may know better. */
  readonly size: number | undefined;
  readonly format: string | undefined;
  readonly cache: string | undefined;
  readonly aio: string | undefined;
  readonly rerror: string | undefined;
  readonly werror: string | undefined;
  /** As it stands in the file: percent-encoded. */
  readonly serial: string | undefined;
  /** The source of a new volume: a volume id or a path. */
  readonly importFrom: string | undefined;
  readonly discard: boolean;
  readonly ssd: boolean;
  readonly backup: boolean;
  readonly ro: boolean;
  /** Writes go to a temporary file and are lost when the guest stops. */
  readonly snapshot: boolean;
  readonly iothread: boolean;
  readonly detectZeroes: boolean;
  /** Operations or MiB in a second; `*_max_length` in seconds. */
  readonly limits: Readonly<Partial<Record<LimitKey, number>>>;
  readonly rest: Properties;
  /** Options that the text spells out, so that those with their default value are printed again. */
  readonly given: ReadonlySet<string>;
}

type TextField = 'format' | 'cache' | 'aio' | 'rerror' | 'werror' | 'serial' | 'importFrom';
type FlagField = 'discard' | 'ssd' | 'backup' | 'ro' | 'snapshot' | 'iothread' | 'detectZeroes';

const TEXTS: Readonly<Record<TextField, string>> = {
  format: 'format',
  cache: 'cache',
  aio: 'aio',
  rerror: 'rerror',
  werror: 'werror',
  serial: 'serial',
  importFrom: 'import-from',
};

interface Flag {
  readonly option: string;
  readonly default: boolean;
  /** The words for false and true. */
  readonly words: readonly [string, string];
}

const flag = (option: string, byDefault = false, words: Flag['words'] = ['0', '1']): Flag => ({
  option,
  default: byDefault,
  words,
});

const FLAGS: Readonly<Record<FlagField, Flag>> = {
  discard: flag('discard', false, ['ignore', 'on']),
  ssd: flag('ssd'),
  backup: flag('backup', true),
  ro: flag('ro'),
  snapshot: flag('snapshot'),
  iothread: flag('iothread'),
  detectZeroes: flag('detect_zeroes', true),
};

/** True for the key of an attached drive; `unusedN` is none. */
export function isDiskKey(key: string): boolean {
  return DISK_KEY_SET.has(key);
}

export function isUnusedKey(key: string): boolean {
  const index = /^unused(0|[1-9]\d{0,2})$/.exec(key)?.[1];
  return index !== undefined && Number(index) < UNUSED_COUNT;
}

/** @throws `bad-argument`, which names `key`. */
export function parseDrive(key: string, value: string): Drive {
  const [, bus, index] = /^([a-z]+)(\d+)$/.exec(key) ?? [];
  if (!isDiskKey(key) && !isUnusedKey(key)) throw new HoldfastError('bad-argument', `'${key}' is no key of a drive`);
  const properties = withMbps(key, parseProperties(value, formatOf(key), key));
  const { file, media, size, ...rest } = properties as Record<string, string>;
  requireFile(key, file as string, media);
  requireSense(key, properties);
  return {
    key,
    bus: bus as Bus,
    index: Number(index),
    file: file as string,
    media: media === 'cdrom' ? 'cdrom' : 'disk',
    size: size === undefined ? undefined : parseSize(size),
    ...takeTexts(rest),
    ...takeFlags(rest),
    limits: takeLimits(rest),
    rest,
    given: new Set(Object.keys(properties)),
  };
}

/** @throws `bad-argument` for an option that this kind of drive does not have. */
export function printDrive(drive: Drive): string {
  const values: Record<string, string> = { ...drive.rest, file: drive.file };
  if (drive.media === 'cdrom' || drive.given.has('media')) values.media = drive.media;
  if (drive.size !== undefined) values.size = printSize(drive.size);
  for (const [field, option] of Object.entries(TEXTS)) {
    const text = drive[field as TextField];
    if (text !== undefined) values[option] = text;
  }
  for (const [field, { option, default: byDefault, words }] of Object.entries(FLAGS)) {
    const on = drive[field as FlagField];
    if (on !== byDefault || drive.given.has(option)) values[option] = words[on ? 1 : 0];
  }
  for (const [option, limit] of Object.entries(drive.limits)) values[option] = String(limit);
  try {
    return printProperties(values, formatOf(drive.key));
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    throw new HoldfastError('bad-argument', `${drive.key}: ${error.message}`, { cause: error });
  }
}

export type NewVolume =
  | { readonly kind: 'size'; readonly storage: string; readonly sizeBytes: number }
  | { readonly kind: 'cloudinit'; readonly storage: string };

/**
 * What `STORE:SIZE` (GiB; 0 with `import-from`) and `STORE:cloudinit` ask to be made; undefined for what exists.
 * @throws `bad-argument` for a size that no volume has.
 */
export function parseNewVolume(file: string): NewVolume | undefined {
  const [, storage, size] = /^([^:/]+):(\d+(?:\.\d+)?|cloudinit)$/.exec(file) ?? [];
  if (storage === undefined || size === undefined) return undefined;
  requireStorageId(storage);
  return size === 'cloudinit'
    ? { kind: 'cloudinit', storage }
    : { kind: 'size', storage, sizeBytes: parseSize(`${size}G`) };
}

function formatOf(key: string): PropertyFormat {
  if (key.startsWith('unused')) return UNUSED_FORMAT;
  if (key.startsWith('efidisk')) return EFI_FORMAT;
  return key.startsWith('tpmstate') ? TPM_FORMAT : PLAIN_FORMAT;
}

function requireFile(key: string, file: string, media: string | undefined): void {
  if (file === 'none' || file === 'cdrom') {
    if (media === 'cdrom') return;
    throw new HoldfastError('bad-argument', `${key}: '${file}' stands for a CD drive: write ${file},media=cdrom`);
  }
  if (file.startsWith('/') && !/[\0\n]/.test(file)) return;
  try {
    parseVolumeId(file);
  } catch (error) {
    const hint = 'write STORAGE:VOLUME, STORAGE:SIZE in GiB for a new one, or an absolute path';
    throw new HoldfastError('bad-argument', `${key}: '${file}' is no volume: ${hint}`, { cause: error });
  }
}

/** Options that exclude each other, as in Proxmox. */
function requireSense(key: string, options: Properties): void {
  const refuse = (problem: string): never => {
    throw new HoldfastError('bad-argument', `${key}: ${problem}`);
  };
  if (options.media === 'cdrom') {
    if (key.startsWith('virtio')) refuse('a CD drive is on ide, sata or scsi');
    if (options.snapshot !== undefined || options.format !== undefined)
      refuse('a CD drive has no snapshot= and no format=');
  }
  for (const unit of ['iops', 'mbps']) {
    for (const end of ['', '_max'])
      for (const way of ['_rd', '_wr'])
        if (options[`${unit}${end}`] !== undefined && options[`${unit}${way}${end}`] !== undefined)
          refuse(`${unit}${end} and ${unit}${way}${end} exclude each other`);
  }
}

/** The older `bps*` limits are bytes in a second and are kept as `mbps*`. */
function withMbps(key: string, properties: Properties): Properties {
  const result: Record<string, string> = {};
  for (const [option, value = ''] of Object.entries(properties)) {
    const way = /^bps(|_rd|_wr)$/.exec(option)?.[1];
    const name = way === undefined ? option : `mbps${way}`;
    if (name !== option && properties[name] !== undefined)
      throw new HoldfastError('bad-argument', `${key}: ${option} and ${name} exclude each other`);
    result[name] = way === undefined ? value : String(Number((Number(value) / 1024 ** 2).toFixed(3)));
  }
  return result;
}

function takeTexts(rest: Record<string, string>): Record<TextField, string | undefined> {
  const taken = {} as Record<TextField, string | undefined>;
  for (const [field, option] of Object.entries(TEXTS)) taken[field as TextField] = take(rest, option);
  return taken;
}

function takeFlags(rest: Record<string, string>): Record<FlagField, boolean> {
  const taken = {} as Record<FlagField, boolean>;
  for (const [field, { option, default: byDefault, words }] of Object.entries(FLAGS)) {
    const text = take(rest, option);
    taken[field as FlagField] = text === undefined ? byDefault : text === words[1];
  }
  return taken;
}

function takeLimits(rest: Record<string, string>): Drive['limits'] {
  const taken: Partial<Record<LimitKey, number>> = {};
  for (const option of LIMIT_KEYS) {
    const text = take(rest, option);
    if (text !== undefined) taken[option] = Number(text);
  }
  return taken;
}

function take(rest: Record<string, string>, option: string): string | undefined {
  const text = rest[option];
  delete rest[option];
  return text;
}
