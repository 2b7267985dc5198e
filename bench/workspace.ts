// Scratch folders of one question, and the reset of a repository to a prepared state between runs.
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

export class Workspace {
  readonly directory: string;

  /** Empties `directory`. */
  constructor(directory: string) {
    this.directory = directory;
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
  }

  path(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  /** An empty folder of that name; what was there is gone. */
  fresh(name: string): string {
    const path = this.path(name);
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path);
    return path;
  }

  remove(name: string): void {
    rmSync(this.path(name), { recursive: true, force: true });
  }

  /** Keeps the present state of a folder for `resetTo`. The folder's path stays the same, which repositories of peers insist on. */
  keep(name: string): void {
    this.remove(`${name}.kept`);
    execFileSync('cp', ['-a', this.path(name), this.path(`${name}.kept`)]);
  }

  reset(name: string): void {
    this.remove(name);
    execFileSync('cp', ['-a', this.path(`${name}.kept`), this.path(name)]);
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface FolderSize {
  /** Sum of the file lengths. */
  lengthBytes: number;
  /** What the disk gave up for them: whole blocks. */
  diskBytes: number;
}

/** Size of all files below a folder. */
export function folderSize(directory: string): FolderSize {
  const size = { lengthBytes: 0, diskBytes: 0 };
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) {
      const inner = folderSize(path);
      size.lengthBytes += inner.lengthBytes;
      size.diskBytes += inner.diskBytes;
    } else if (entry.isFile()) {
      const { size: length, blocks } = lstatSync(path);
      size.lengthBytes += length;
      size.diskBytes += blocks * 512;
    }
  }
  return size;
}

/** Reads files, and all files of directories, into the page cache. */
export function warm(paths: readonly string[]): void {
  for (const path of paths) {
    if (!existsSync(path)) throw new Error(`${path} does not exist`);
    const read = 'find "$1" -xdev -type f -print0 | xargs -0 cat >/dev/null';
    execFileSync('sh', ['-c', read, 'sh', path]);
  }
}

/** Reads the first bytes of a file into the page cache. */
export function warmFirst(path: string, bytes: number): void {
  execFileSync('sh', ['-c', 'head -c "$2" "$1" >/dev/null', 'sh', path, String(bytes)]);
}

/** Proves with cmp that two files, or their first `limit` bytes, are the same; throws where they differ first. */
export function requireSame(expected: string, actual: string, limit?: number): void {
  const bytes = limit === undefined ? [] : ['-n', String(limit)];
  execFileSync('cmp', [...bytes, expected, actual], { stdio: ['ignore', 'pipe', 'pipe'] });
}
