// One entry of a tree as people and programs see it: a line as of `ls -la`, or an object of JSON.
import { getSystemErrorName } from 'node:util';
import { describeEntry, type EntryFacts } from '../agent/tree/browse/describe-entry.ts';
import type { FoundEntry } from '../agent/tree/browse/walk-tree.ts';
import { jsonPath, shownPath } from '../util/shown-path.ts';

/** The first letters of mode strings, by the bits of the type. */
const LS_LETTERS = new Map([
  [0o100000, '-'],
  [0o040000, 'd'],
  [0o120000, 'l'],
  [0o060000, 'b'],
  [0o020000, 'c'],
  [0o010000, 'p'],
  [0o140000, 's'],
]);
/** Beyond these a Date has no year. */
const MAX_DATE_SECONDS = 8_640_000_000_000;

export const ROW_HEADER = `${'mode'.padEnd(11)}${'links'.padStart(5)} ${'uid'.padStart(6)} ${'gid'.padStart(6)} ${'size'.padStart(14)}  ${'modified'.padEnd(20)}  name`;

/** One line without its end. Columns are of fixed width, for nobody knows what comes later. */
export function textRow({ path, entry }: FoundEntry): string {
  const facts = describeEntry(entry);
  const { device, target } = facts;
  const size = device === undefined ? String(facts.sizeBytes) : `${device.major}, ${device.minor}`;
  const name = path === '' ? '.' : shownPath(path);
  const marks = marksOf(facts);
  return [
    `${modeString(facts.mode)}${facts.xattrs.length > 0 ? '+' : ' '}`,
    String(facts.links).padStart(5),
    String(facts.uid).padStart(6),
    String(facts.gid).padStart(6),
    size.padStart(14),
    ` ${timeText(facts.mtimeNs, false).padEnd(20)}`,
    ` ${name}${target === undefined ? '' : ` -> ${shownPath(target)}`}${marks.length === 0 ? '' : `  [${marks.join(', ')}]`}`,
  ].join(' ');
}

/** The JSON of an entry; `mode` is octal text with the bits of the type, times are RFC 3339 with nanoseconds. */
export function jsonRow({ path, entry }: FoundEntry): Record<string, unknown> {
  const facts = describeEntry(entry);
  return {
    ...jsonPath('path', path),
    type: facts.type,
    mode: facts.mode.toString(8),
    uid: facts.uid,
    gid: facts.gid,
    links: facts.links,
    size: facts.sizeBytes,
    modified: timeText(facts.mtimeNs, true),
    changed: timeText(facts.ctimeNs, true),
    inode: String(facts.inode),
    ...(facts.target === undefined ? {} : jsonPath('target', facts.target)),
    ...facts.device,
    xattrs: facts.xattrs.map(shownPath),
    marks: marksOf(facts),
  };
}

/** `-rwsr-xr-x`. */
export function modeString(mode: number): string {
  const type = mode & 0o170000;
  const letter = LS_LETTERS.get(type) ?? '?';
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

function marksOf({ errno, isMountPoint, attributes }: EntryFacts): string[] {
  return [
    ...(errno === 0 ? [] : [`unreadable: ${errorName(errno)}`]),
    ...(isMountPoint ? ['mount point, not entered'] : []),
    ...attributes,
  ];
}

/** `EACCES`; a number where this machine has no name for it. */
export function errorName(errno: number): string {
  const name = getSystemErrorName(-errno);
  return /^E/.test(name) ? name : `errno ${errno}`;
}
