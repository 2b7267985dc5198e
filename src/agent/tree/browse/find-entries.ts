// What `snapshot find` asks of an entry, in the words of find(1): all conditions must hold.
import type { DirectoryEntry } from '../../../chunker/directory.ts';
import { FileType, fileType, readStat, sizeOf } from '../../../chunker/stat-block.ts';
import { type ByteString, display } from '../../../util/byte-string.ts';
import { HoldfastError } from '../../../util/errors.ts';
import { compileGlob } from './glob.ts';
import type { FoundEntry } from './walk-tree.ts';

/** The letters of find's `-type`. */
export const TYPE_LETTERS = new Map<number, string>([
  [FileType.file, 'f'],
  [FileType.directory, 'd'],
  [FileType.symlink, 'l'],
  [FileType.blockDevice, 'b'],
  [FileType.characterDevice, 'c'],
  [FileType.fifo, 'p'],
  [FileType.socket, 's'],
]);

export interface FindConditions {
  /** A pattern for the last component. */
  readonly name: string | undefined;
  /** A pattern for the whole path below the top, without a slash before it. */
  readonly path: string | undefined;
  /** Letters of `TYPE_LETTERS`, with or without commas. */
  readonly type: string | undefined;
  /** Modified after this time; nanoseconds since 1970. */
  readonly newerThanNs: bigint | undefined;
  /** Modified before this time. */
  readonly olderThanNs: bigint | undefined;
  /** Regular files of more bytes than this. */
  readonly largerThanBytes: number | undefined;
}

/** A test for entries. @throws `bad-argument` for a type that there is not. */
export function entryTest(conditions: FindConditions): (found: FoundEntry) => boolean {
  const { name, path, type, newerThanNs, olderThanNs, largerThanBytes } = conditions;
  const tests: ((found: FoundEntry) => boolean)[] = [];
  if (type !== undefined) {
    const letters = parseTypes(type);
    tests.push(({ entry }) => letters.has(TYPE_LETTERS.get(fileType(entry.stat)) ?? ''));
  }
  if (largerThanBytes !== undefined) tests.push(({ entry }) => isLarger(entry, largerThanBytes));
  if (newerThanNs !== undefined) tests.push(({ entry }) => readStat(entry.stat).mtimeNs > newerThanNs);
  if (olderThanNs !== undefined) tests.push(({ entry }) => readStat(entry.stat).mtimeNs < olderThanNs);
  if (name !== undefined) {
    const matches = compileGlob(name);
    tests.push((found) => matches(display(lastComponent(found.path))));
  }
  if (path !== undefined) {
    const matches = compileGlob(path.replace(/^\.?\//, ''));
    tests.push((found) => matches(display(found.path)));
  }
  return (found) => tests.every((test) => test(found));
}

function isLarger(entry: DirectoryEntry, bytes: number): boolean {
  return fileType(entry.stat) === FileType.file && sizeOf(entry.stat) > bytes;
}

function lastComponent(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf('/') + 1) as ByteString;
}

function parseTypes(text: string): ReadonlySet<string> {
  const letters = new Set([...text].filter((letter) => letter !== ','));
  const known = [...TYPE_LETTERS.values()];
  for (const letter of letters)
    if (!known.includes(letter))
      throw new HoldfastError('bad-argument', `--type takes ${known.join(', ')}, not ${JSON.stringify(letter)}`);
  return letters;
}
