// A tree of small files, ten directories deep: about a hundred files in each of the innermost directories, 4 KiB each on average. The same
// number gives the same bytes everywhere.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FILES_PER_DIRECTORY = 100;
/** Directories of each level in one of the level above: 10,368 innermost ones. */
const FAN_OUT = [2, 3, 2, 3, 2, 3, 2, 3, 2, 4] as const;
const MAX_FILE_BYTES = 8191;
const TEXT_BYTES = 1024 * 1024;

/** A file of 10 KiB among them. */
export const LONE_FILE_BYTES = 10 * 1024;

export interface SmallFilesFacts {
  readonly files: number;
  readonly directories: number;
  readonly bytes: number;
  /** Of the file of 10 KiB, from the top. */
  readonly loneFile: string;
}

/** Writes the tree to a new directory. */
export function writeSmallFiles(top: string, files: number): SmallFilesFacts {
  const text = fillText();
  const innermost = Math.ceil(files / FILES_PER_DIRECTORY);
  const made = new Set<string>();
  let bytes = 0;
  const loneFile = Math.floor(files / 2);
  let lonePath = '';
  for (let directory = 0; directory < innermost; directory++) {
    const path = directoryPath(directory, made);
    mkdirSync(join(top, path), { recursive: true });
    const end = Math.min(files, (directory + 1) * FILES_PER_DIRECTORY);
    for (let file = directory * FILES_PER_DIRECTORY; file < end; file++) {
      const length = file === loneFile ? LONE_FILE_BYTES : 1 + (scatter(file) % MAX_FILE_BYTES);
      const from = scatter(file + 0x10000000) % (TEXT_BYTES - LONE_FILE_BYTES);
      const content = Buffer.from(text.subarray(from, from + length));
      // No two files are the same.
      content.write(`${file}\n`, 0, 'latin1');
      const name = `${path}/file-${String(file).padStart(7, '0')}.txt`;
      writeFileSync(join(top, name), content);
      if (file === loneFile) lonePath = name;
      bytes += length;
    }
  }
  return { files, directories: made.size + 1, bytes, loneFile: lonePath };
}

/** The path of an innermost directory; notes all directories on the way. */
function directoryPath(number: number, made: Set<string>): string {
  let rest = number;
  let path = '';
  for (const [level, count] of FAN_OUT.entries()) {
    path += `${level === 0 ? '' : '/'}level-${level}-${rest % count}`;
    rest = Math.floor(rest / count);
    made.add(path);
  }
  return rest === 0 ? path : `${path}-${rest}`;
}

/** Words that compress about as source code does. */
function fillText(): Buffer {
  const text = Buffer.alloc(TEXT_BYTES);
  for (let at = 0, word = 0; at < TEXT_BYTES; word++)
    at += text.write(`${(scatter(word) % 50_000).toString(36)} `, at, 'latin1') || TEXT_BYTES;
  return text;
}

/** Spreads whole numbers over 32 bits (the finisher of MurmurHash3). */
function scatter(number: number): number {
  let hash = number + 0x9e3779b9;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
