// One entry of a tree as people and programs see it: a line as of `ls -la`, or an object of JSON.
import { getSystemErrorName } from 'node:util';
import { TYPE_LETTERS } from '../agent/tree/find-entries.ts';
import type { FoundEntry } from '../agent/tree/walk-tree.ts';
import { Content, type DirectoryEntry, eachXattr, Mark } from '../chunker/directory.ts';
import { FileType, fileType, readStat, type StatFields } from '../chunker/stat-block.ts';
import { fromBytes } from '../util/byte-string.ts';
import { jsonPath, shownPath } from '../util/shown-path.ts';

/** The first letter of a mode string, where it is not that of find's types. */
const LS_LETTERS = new Map<number, string>([[FileType.file, '-']]);
const ATTRIBUTES: readonly (readonly [number, string])[] = [
  [0x4, 'compressed'],
  [0x10, 'immutable'],
  [0x20, 'append-only'],
  [0x40, 'no-dump'],
];
/** Beyond these a Date has no year. */
const MAX_DATE_SECONDS = 8_640_000_000_000;

export const ROW_HEADER = `${'mode'.padEnd(11)}${'links'.padStart(5)} ${'uid'.padStart(6)} ${'gid'.padStart(6)} ${'size'.padStart(14)}  ${'modified'.padEnd(20)}  name`;

/** One line without its end. Columns are of fixed width, for nobody knows what comes later. */
export function textRow({ path, entry }: FoundEntry): string {
  const stat = readStat(entry.stat);
  const size = isDevice(entry) ? `${stat.major}, ${stat.minor}` : String(stat.sizeBytes);
  const name = path === '' ? '.' : shownPath(path);
  const target = targetOf(entry);
  const marks = marksOf(entry, stat);
  return [
    `${modeString(stat.mode)}${entry.xattrs.length > 0 ? '+' : ' '}`,
    String(stat.nlink).padStart(5),
    String(stat.uid).padStart(6),
    String(stat.gid).padStart(6),
    size.padStart(14),
    ` ${timeText(stat.mtimeNs, false).padEnd(20)}`,
    ` ${name}${target === undefined ? '' : ` -> ${shownPath(target)}`}${marks.length === 0 ? '' : `  [${marks.join(', ')}]`}`,
  ].join(' ');
}

/** The JSON of an entry; `mode` is octal text with the bits of the type, times are RFC 3339 with nanoseconds. */
export function jsonRow({ path, entry }: FoundEntry): Record<string, unknown> {
  const stat = readStat(entry.stat);
  const target = targetOf(entry);
  return {
    ...jsonPath('path', path),
    type: TYPE_LETTERS.get(fileType(entry.stat)) ?? '?',
    mode: stat.mode.toString(8),
    uid: stat.uid,
    gid: stat.gid,
    links: stat.nlink,
    size: stat.sizeBytes,
    modified: timeText(stat.mtimeNs, true),
    changed: timeText(stat.ctimeNs, true),
    inode: String(stat.inode),
    ...(target === undefined ? {} : jsonPath('target', target)),
    ...(isDevice(entry) ? { major: stat.major, minor: stat.minor } : {}),
    xattrs: [...eachXattr(entry.xattrs)].map(({ name }) => shownPath(name)),
    marks: marksOf(entry, stat),
  };
}

/** `-rwsr-xr-x`. */
export function modeString(mode: number): string {
  const type = mode & 0o170000;
  const letter = LS_LETTERS.get(type) ?? TYPE_LETTERS.get(type) ?? '?';
  const special = [0o4000, 0o2000, 0o1000];
  const triples = [6, 3, 0].map((shift, place) => {
    const bits = (mode >> shift) & 7;
    const isSpecial = (mode & (special[place] as number)) !== 0;
    const execute = place === 2 ? 't' : 's';
    const last = isSpecial ? ((bits & 1) === 0 ? execute.toUpperCase() : execute) : (bits & 1) === 0 ? '-' : 'x';
    return `${(bits & 4) === 0 ? '-' : 'r'}${(bits & 2) === 0 ? '-' : 'w'}${last}`;
  });
  return letter + triples.join('');
}

/** `2026-11-20T02:00:00Z`, with nanoseconds where wanted; seconds since 1970 with an @ where no calendar reaches. */
export function timeText(timeNs: bigint, withNanoseconds: boolean): string {
  const nanoseconds = ((timeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const seconds = Number((timeNs - nanoseconds) / 1_000_000_000n);
  const fraction = withNanoseconds ? `.${String(nanoseconds).padStart(9, '0')}` : '';
  if (Math.abs(seconds) > MAX_DATE_SECONDS) return `@${seconds}${fraction}`;
  return new Date(seconds * 1000).toISOString().replace('.000Z', `${fraction}Z`);
}

function targetOf(entry: DirectoryEntry): ReturnType<typeof fromBytes> | undefined {
  const isLink = fileType(entry.stat) === FileType.symlink && entry.content === Content.inline;
  return isLink ? fromBytes(entry.contentBytes) : undefined;
}

function isDevice({ stat }: DirectoryEntry): boolean {
  return fileType(stat) === FileType.blockDevice || fileType(stat) === FileType.characterDevice;
}

function marksOf(entry: DirectoryEntry, { attributes }: StatFields): string[] {
  return [
    ...(entry.content === Content.unreadable ? [`unreadable: ${errorName(entry.errno)}`] : []),
    ...((entry.marks & Mark.mountPoint) === 0 ? [] : ['mount point, not entered']),
    ...ATTRIBUTES.filter(([bit]) => (attributes & bit) !== 0).map(([, name]) => name),
  ];
}

/** `EACCES`; a number where this machine has no name for it. */
export function errorName(errno: number): string {
  const name = getSystemErrorName(-errno);
  return /^E/.test(name) ? name : `errno ${errno}`;
}
