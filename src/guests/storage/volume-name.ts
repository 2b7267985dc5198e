// The names of volumes on storages that are directories, in Proxmox's forms, and where in the directory each lies. A name that passes here
// has no way out: no `..`, no slash but the one of its form, no dot in front.
import { parseGuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { ContentType, ImageFormat } from './storage.ts';

/** Where each type of content lies below a storage's path. */
export const CONTENT_DIRECTORIES: Readonly<Record<ContentType, string>> = {
  images: 'images',
  iso: 'template/iso',
  snippets: 'snippets',
  import: 'import',
  backup: 'dump',
  vztmpl: 'template/cache',
};

/** `100/vm-100-disk-0.qcow2`: the stem is `vm-100-disk-0`. */
export interface ImageName {
  readonly content: 'images';
  readonly vmid: number;
  readonly stem: string;
  readonly format: ImageFormat;
}

/** `iso/debian.iso`, and what else is one file in the directory of its content. */
export interface FileName {
  readonly content: Exclude<ContentType, 'images'>;
  readonly vmid: number | undefined;
  readonly file: string;
  readonly format: ImageFormat;
}

export type VolumeName = ImageName | FileName;

// No dots: on btrfs a stem is the name of a directory beside files that are called STEM.qcow2.
const STEM = /^(?:vm|base)-(\d+)-[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/;
const BACKUP =
  /^vzdump-(?:qemu|lxc)-(\d+)-\d{4}(?:_\d\d){2}-\d\d(?:_\d\d){2}\.(?:vma|tar|tgz)(?:\.(?:zst|gz|lzo|bz2))?$/;
/** No control characters, and no comma: it would end the value in a guest's configuration. */
const FILE = /^[^\p{C}\p{Z}/,.-][^\p{C}\p{Zl}\p{Zp}/,]*$/u;
const MAX_FILE_BYTES = 255;

const ENDINGS: Readonly<Record<FileName['content'], RegExp>> = {
  iso: /\.(?:iso|img)$/i,
  snippets: /./,
  import: /\.(?:raw|img|qcow2)$/,
  backup: BACKUP,
  vztmpl: /\.tar(?:\.(?:gz|xz|zst|bz2))?$/,
};

/** @throws `bad-name`. */
export function parseVolumeName(name: string): VolumeName {
  const cut = name.indexOf('/');
  const [place, file] = [name.slice(0, Math.max(0, cut)), name.slice(cut + 1)];
  if (Object.hasOwn(ENDINGS, place)) return parseFileName(name, place as FileName['content'], file);
  const dot = file.lastIndexOf('.');
  const format = file.slice(dot + 1);
  if (!/^\d+$/.test(place) || dot < 0 || !isImageFormat(format))
    throw bad(name, 'write VMID/vm-VMID-NAME.raw or .qcow2, or a file such as iso/NAME.iso');
  const vmid = parseGuestId(place);
  return { content: 'images', vmid, stem: requireStem(file.slice(0, dot), vmid), format };
}

/** As `parseVolumeName`; undefined for what is no name, so that a list can leave it out. */
export function findVolumeName(name: string): VolumeName | undefined {
  try {
    return parseVolumeName(name);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'bad-name') return undefined;
    throw error;
  }
}

export function formatVolumeName(name: VolumeName): string {
  return name.content === 'images' ? `${name.vmid}/${name.stem}.${name.format}` : `${name.content}/${name.file}`;
}

/** The stem of a name that somebody wishes for a new image, with or without its ending. @throws `bad-name`. */
export function wishedStem(wish: string, vmid: number, format: ImageFormat): string {
  return requireStem(wish.endsWith(`.${format}`) ? wish.slice(0, -format.length - 1) : wish, vmid);
}

/** `vm-100-disk-0`, `vm-100-disk-1`, …: the first that no entry of the guest's directory has, in whatever format. */
export function nextDiskStem(vmid: number, entries: Iterable<string>): string {
  const taken = new Set<number>();
  for (const entry of entries) {
    const [, owner, number] = /^(?:vm|base)-(\d+)-disk-(\d{1,9})(?:\.\w+)?$/.exec(entry) ?? [];
    if (owner === String(vmid)) taken.add(Number(number));
  }
  let next = 0;
  while (taken.has(next)) next++;
  return `vm-${vmid}-disk-${next}`;
}

function requireStem(stem: string, vmid: number): string {
  const owner = STEM.exec(stem)?.[1];
  if (owner === undefined) throw bad(stem, `write vm-${vmid}-NAME, where NAME has letters, digits, '_' and '-'`);
  if (owner !== String(vmid)) throw bad(stem, `it is named for guest ${owner} and not for ${vmid}`);
  return stem;
}

function parseFileName(name: string, content: FileName['content'], file: string): FileName {
  if (!FILE.test(file) || Buffer.byteLength(file) > MAX_FILE_BYTES || !ENDINGS[content].test(file))
    throw bad(name, `it is no file that ${content} may hold`);
  const vmid = content === 'backup' ? Number(BACKUP.exec(file)?.[1]) : undefined;
  return { content, vmid, file, format: content === 'import' && file.endsWith('.qcow2') ? 'qcow2' : 'raw' };
}

function isImageFormat(text: string): text is ImageFormat {
  return text === 'raw' || text === 'qcow2';
}

function bad(name: string, hint: string): HoldfastError {
  return new HoldfastError('bad-name', `${JSON.stringify(name.slice(0, 300))} is no name of a volume: ${hint}`);
}
