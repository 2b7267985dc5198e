// What is seen of a directory: everything that a restore must bring back, by path, to be compared.
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { errnoName, OPEN_DIRECTORY, OPEN_TO_READ, readScan } from '../../../src/agent/tree/file-calls.ts';
import { FileType, fileType, inodeKey, readStat } from '../../../src/chunker/stat-block.ts';
import { type ByteString, below, EMPTY, fromText } from '../../../src/util/byte-string.ts';
import { calls } from './tree-archive.ts';

export interface Seen {
  readonly mode: string;
  readonly owner: string;
  readonly mtimeNs: bigint;
  readonly size: number;
  readonly device: string;
  readonly attributes: number;
  readonly xattrs: string;
  readonly target: string;
  readonly content: string;
  /** Where data is. */
  readonly data: string;
  /** The first path with the same inode. */
  readonly linkOf: string;
}

/** All below a directory, and itself under the empty path. */
export function seenTree(path: string): Record<string, Seen> {
  const seen: Record<string, Seen> = {};
  const firsts = new Map<string, string>();
  const fd = calls.open(-1, fromText(path), OPEN_DIRECTORY, 0);
  if (fd < 0) throw new Error(`${path}: ${errnoName(fd)}`);
  walk(fd, EMPTY, Buffer.from([1, 46]), seen, firsts);
  closeSync(fd);
  return seen;
}

function walk(
  fd: number,
  path: ByteString,
  names: Buffer,
  seen: Record<string, Seen>,
  firsts: Map<string, string>,
): void {
  for (const found of readScan(calls.scan(fd, names) as Buffer)) {
    const stat = readStat(found.stat);
    const type = fileType(found.stat);
    const at = found.name === '.' ? path : below(path, found.name);
    const key = inodeKey(found.stat);
    if (!firsts.has(key)) firsts.set(key, at);
    seen[at] = {
      mode: stat.mode.toString(8),
      owner: `${stat.uid}:${stat.gid}`,
      mtimeNs: stat.mtimeNs,
      size: stat.sizeBytes,
      device: `${stat.major}:${stat.minor}`,
      attributes: stat.attributes,
      xattrs: found.xattrs.toString('latin1'),
      target: found.target.toString('latin1'),
      ...(type === FileType.file ? contentOf(fd, found.name) : { content: '', data: '' }),
      linkOf: firsts.get(key) as string,
    };
    if (type !== FileType.directory) continue;
    const child =
      found.name === '.'
        ? calls.open(fd, found.name, OPEN_DIRECTORY, 0)
        : calls.open(fd, found.name, OPEN_DIRECTORY, 0);
    if (found.name !== '.' || path === EMPTY) walk(child, at, calls.listNames(child) as Buffer, seen, firsts);
    closeSync(child);
  }
}

function contentOf(directory: number, name: ByteString): { content: string; data: string } {
  const fd = calls.open(directory, name, OPEN_TO_READ, 0);
  const hash = createHash('sha256');
  const bytes = Buffer.alloc(1024 * 1024);
  for (let got = readSync(fd, bytes); got > 0; got = readSync(fd, bytes)) hash.update(bytes.subarray(0, got));
  const ranges: string[] = [];
  const { size } = fstatSync(fd);
  for (let at = 0; at < size; ) {
    const start = calls.seek(fd, at, false);
    if (start < 0) break;
    at = calls.seek(fd, start, true);
    ranges.push(`${start}-${at}`);
  }
  closeSync(fd);
  return { content: hash.digest('hex'), data: ranges.join(' ') };
}
