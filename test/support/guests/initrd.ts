// An initial RAM disk in the format newc of cpio, which the kernel unpacks. Not compressed: an emulated processor unpacks slowly.
import { readFileSync } from 'node:fs';

export interface InitrdFile {
  readonly name: string;
  readonly source: string;
  readonly mode: number;
}

const DIRECTORY = 0o040755;
const REGULAR = 0o100000;
const INODE_AT = 6;

/** Files and the directories they are in, given by name, parents first. */
export function makeInitrd(directories: readonly string[], files: readonly InitrdFile[]): Buffer {
  const entries = [
    ...directories.map((name) => entry(name, DIRECTORY, Buffer.alloc(0))),
    ...files.map(({ name, source, mode }) => entry(name, REGULAR | mode, readFileSync(source))),
    entry('TRAILER!!!', 0, Buffer.alloc(0)),
  ];
  for (const [place, each] of entries.entries()) each.write(hex(place + 1), INODE_AT, 'latin1');
  return padded(Buffer.concat(entries), 512);
}

function entry(name: string, mode: number, content: Buffer): Buffer {
  const fields = [0, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
  const head = Buffer.from(`070701${fields.map(hex).join('')}${name}\0`, 'latin1');
  return Buffer.concat([padded(head, 4), padded(content, 4)]);
}

const hex = (value: number): string => value.toString(16).padStart(8, '0');

function padded(data: Buffer, multiple: number): Buffer {
  return Buffer.concat([data, Buffer.alloc((multiple - (data.length % multiple)) % multiple)]);
}
