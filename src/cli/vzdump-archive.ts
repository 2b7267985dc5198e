// A vzdump archive that was named on the command line: which snapshot it becomes, and what lies beside it.
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseVzdumpName } from '../agent/vma/vzdump-name.ts';
import { type GroupName, parseGroup, parseTime } from '../schema/names.ts';
import { HoldfastError, systemCode } from '../util/errors.ts';
import { checkNote } from './note.ts';

export interface VzdumpArchive {
  /** `-` for standard input. */
  readonly path: string;
  readonly group: GroupName;
  /** Unix seconds. */
  readonly time: number;
  /** Whether it was made of the local time in the file name. */
  readonly isLocalTime: boolean;
  /** Of the file NAME.notes; empty without one. */
  readonly notes: string;
  /** Whether there is a file NAME.protected. */
  readonly isProtected: boolean;
}

export interface VzdumpOptions {
  readonly group?: string;
  readonly time?: string;
}

/** Archives in the order of their times, as snapshots must come. @throws `bad-argument`, `bad-name`, `too-large` (notes), `source-failed`. */
export async function vzdumpArchives(paths: readonly string[], options: VzdumpOptions): Promise<VzdumpArchive[]> {
  if (options.time !== undefined && paths.length > 1)
    throw new HoldfastError('bad-argument', '--time is the time of one snapshot; import the archives one by one');
  if (paths.filter((path) => path === '-').length > 1)
    throw new HoldfastError('bad-argument', 'only one archive can come from standard input');
  const archives: VzdumpArchive[] = [];
  for (const path of paths) archives.push(await vzdumpArchive(path, options));
  return archives.sort((a, b) => a.time - b.time);
}

async function vzdumpArchive(path: string, options: VzdumpOptions): Promise<VzdumpArchive> {
  const group = options.group === undefined ? undefined : parseGroup(options.group);
  const time = options.time === undefined ? undefined : parseTime(options.time);
  const isNamed = path !== '-' && (group === undefined || time === undefined);
  const named = isNamed ? parseVzdumpName(basename(path)) : undefined;
  if ((group ?? named?.group) === undefined || (time ?? named?.time) === undefined) throw unnamed(path, group, time);
  return {
    path,
    group: (group ?? named?.group) as GroupName,
    time: (time ?? named?.time) as number,
    isLocalTime: time === undefined,
    notes: path === '-' ? '' : await notesOf(path),
    isProtected: path !== '-' && (await isThere(`${path}.protected`)),
  };
}

function unnamed(path: string, group: string | undefined, time: number | undefined): HoldfastError {
  const name = basename(path);
  if (/^vzdump-(lxc|openvz)-/.test(name))
    return new HoldfastError(
      'bad-argument',
      `${path} is the archive of a container; write: holdfast backup --group ct/200 root.tree:tar:FILE`,
    );
  const missing = [
    ...(group === undefined ? ['--group vm/101'] : []),
    ...(time === undefined ? ['--time 2026-01-31T02:00:00Z'] : []),
  ];
  const what = path === '-' ? 'standard input has no name that says' : `the name of ${path} does not say`;
  return new HoldfastError('bad-argument', `${what} which snapshot it becomes; write also: ${missing.join(' ')}`);
}

async function notesOf(path: string): Promise<string> {
  const file = `${path}.notes`;
  try {
    return checkNote((await readFile(file, 'utf8')).trimEnd());
  } catch (cause) {
    if (cause instanceof HoldfastError) throw new HoldfastError(cause.code, `${file}: ${cause.message}`, { cause });
    if (systemCode(cause) === 'ENOENT') return '';
    throw new HoldfastError('source-failed', `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return false;
    throw new HoldfastError('source-failed', `cannot look at ${path}: ${(cause as Error).message}`, { cause });
  }
}
