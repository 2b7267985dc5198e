// The trees that the questions about file trees read: made once, kept under .cache/bench/.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { cached, requireRoom } from '../images/cache.ts';
import { type SmallFilesFacts, writeSmallFiles } from './small-files.ts';

/** Raise it whenever what is written changes. */
const TREES_VERSION = 1;
const GIB = 2 ** 30;
const PIECE_BYTES = 1024 * 1024;
const SYSTEM = '/usr';

export interface SystemTreeFacts {
  readonly files: number;
  readonly bytes: number;
}

/** Each is a directory at `path`. */
export interface Trees {
  /** A million files of 4 KiB on average. */
  smallFiles(): SmallFilesFacts & { path: string };
  /** A copy of /usr, up to 100,000 files. */
  system(): SystemTreeFacts & { path: string };
  /** One file of 1 GiB, `large.bin`, that does not compress; `shifted` is the same with one byte more in front. */
  largeFile(): { path: string; bytes: number };
  shiftedFile(): { path: string; bytes: number };
  /** One file of 1 GiB, `real.bin`: the files of the copy of /usr behind each other. */
  realFile(): { path: string; bytes: number };
}

/** Nothing is made before it is asked for. */
export function openTrees(cacheDirectory: string, scale: number): Trees {
  const directory = join(cacheDirectory, `trees-v${TREES_VERSION}-scale-${scale}`);
  const make = <Facts>(name: string, build: (path: string) => Facts): Facts & { path: string } =>
    cached(directory, name, (path) => {
      rmSync(path, { recursive: true, force: true });
      mkdirSync(path);
      requireRoom(cacheDirectory, 20 * GIB * scale);
      return build(path);
    });
  const largeBytes = Math.max(PIECE_BYTES, Math.round((GIB * scale) / PIECE_BYTES) * PIECE_BYTES);
  const system = (): SystemTreeFacts & { path: string } =>
    make('system', (path) => copySystem(path, Math.max(1000, Math.round(1e5 * scale))));
  return {
    smallFiles: () => make('small-files', (path) => writeSmallFiles(path, Math.max(1000, Math.round(1e6 * scale)))),
    system,
    largeFile: () => make('large', (path) => writeLarge(path, largeBytes, Buffer.alloc(0))),
    shiftedFile: () => make('shifted', (path) => writeLarge(path, largeBytes, Buffer.from('x'))),
    realFile: () => make('real', (path) => writeReal(path, system().path, largeBytes)),
  };
}

/** Copies whole directories of /usr, in name order, until there are that many files; owners, modes, times and links stay as they are. */
function copySystem(target: string, maxFiles: number): SystemTreeFacts {
  let files = 0;
  const copy = (from: string, to: string): void => {
    mkdirSync(to, { recursive: true });
    for (const entry of readdirSync(from, { withFileTypes: true })) {
      if (files >= maxFiles) return;
      const path = join(from, entry.name);
      const inside = entry.isDirectory() ? countFiles(path) : 1;
      if (files + inside > maxFiles) {
        if (entry.isDirectory()) copy(path, join(to, entry.name));
        continue;
      }
      execFileSync('cp', ['-a', '--one-file-system', path, to]);
      files += inside;
    }
  };
  copy(SYSTEM, target);
  const bytes = Number(execFileSync('du', ['-sb', target], { encoding: 'utf8' }).split('\t')[0]);
  return { files, bytes };
}

function countFiles(directory: string): number {
  const found = execFileSync('find', [directory, '-xdev', '!', '-type', 'd', '-printf', 'x'], { maxBuffer: 1 << 26 });
  return found.length;
}

/** Bytes that do not compress, the same each time. */
function writeLarge(directory: string, bytes: number, front: Buffer): { bytes: number } {
  const fd = openSync(join(directory, 'large.bin'), 'w');
  try {
    writeSync(fd, front);
    const words = new Uint32Array(PIECE_BYTES / 4);
    let state = 0x2545f491;
    for (let done = 0; done < bytes; done += PIECE_BYTES) {
      for (let place = 0; place < words.length; place++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        words[place] = state;
      }
      writeSync(fd, words);
    }
  } finally {
    closeSync(fd);
  }
  return { bytes };
}

/** The first bytes of all files of a tree, in name order. */
function writeReal(directory: string, tree: string, wantedBytes: number): { bytes: number } {
  const target = join(directory, 'real.bin');
  const read = 'find "$1" -xdev -type f -print0 | sort -z | xargs -0 cat | head -c "$2" >"$3"';
  // head ends before cat does, which is no failure.
  execFileSync('sh', ['-c', `${read}; true`, 'sh', tree, String(wantedBytes), target]);
  return { bytes: statSync(target).size };
}

/** Proves that two trees hold the same files, links and bytes; throws with the first difference. */
export function requireSameTree(expected: string, actual: string): void {
  execFileSync('diff', ['-rq', '--no-dereference', expected, actual], { stdio: ['ignore', 'pipe', 'pipe'] });
}
