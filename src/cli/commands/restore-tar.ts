// holdfast restore ct/200/latest root.tree --tar FILE|- [--path SUBDIR] [--zstd]
import type { Command } from 'commander';
import { exportTar, type TarExported } from '../../agent/tar/export-tar.ts';
import { TarOutput } from '../../agent/tar/tar-output.ts';
import { TreeWarnings } from '../../agent/tree/tree-warnings.ts';
import { fromText } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { formatDuration, pairs } from '../output.ts';
import { type RestorePlace, threadsFor } from './restore-place.ts';

export interface TarRestoreOptions {
  readonly tar?: string;
  readonly zstd?: boolean;
  readonly path?: readonly string[];
  readonly overwrite?: boolean;
  readonly damaged: 'refuse' | 'zero';
}

export function addTarOptions(command: Command): Command {
  return command
    .option(
      '--tar <FILE>',
      'write a file tree, or its one --path, as a tar archive (- for standard output; with zstd when it ends with .zst or .tzst)',
    )
    .option('--zstd', 'compress the tar archive, whatever its name');
}

/** One place to restore to: the argument, or the file of --tar. */
export function targetOf(target: string | undefined, { tar, zstd, path, damaged }: TarRestoreOptions): string {
  if (tar !== undefined && target !== undefined)
    throw new HoldfastError('bad-argument', `restore to ${target} or to the tar archive ${tar}, not to both`);
  if (tar === undefined && zstd === true) throw new HoldfastError('bad-argument', '--zstd belongs to --tar FILE');
  if (tar !== undefined && (path?.length ?? 0) > 1)
    throw new HoldfastError('bad-argument', 'a tar archive takes one --path; make one for each');
  if (tar !== undefined && damaged === 'zero')
    throw new HoldfastError(
      'bad-argument',
      '--damaged zero is not for --tar: a member without its bytes would look whole',
    );
  const found = tar ?? target;
  if (found === undefined)
    throw new HoldfastError('bad-argument', 'restore to where? Give a path, or - for standard output');
  return found;
}

/** @throws `bad-argument` when the archive is no tree; else as `exportTar`. */
export async function restoreTar(place: RestorePlace, options: TarRestoreOptions): Promise<void> {
  const { archive, averageBytes, snapshot, target } = place;
  if (archive.kind !== 'tree')
    throw new HoldfastError(
      'bad-argument',
      `${archive.name} is no file tree: only a .tree can be restored as a tar archive`,
    );
  const lookups = (archive.entries ?? 0) + Math.ceil(archive.sizeBytes / averageBytes);
  const { members, bytes } = await exported(place, options, lookups);
  place.endProgress();
  const result = { snapshot, archive: archive.name, target, bytes, members, durationMs: place.durationMs() };
  if (target !== '-') place.tell(result, describe);
}

async function exported(place: RestorePlace, options: TarRestoreOptions, lookups: number): Promise<TarExported> {
  const { archive, space, target, signal } = place;
  const zstd = options.zstd === true || /\.(zst|tzst)$/.test(target);
  const warnings = new TreeWarnings((message) => place.warn(`${archive.name}: ${message}`));
  const overwrite = options.overwrite === true;
  const output = await TarOutput.open({ target, overwrite, zstd, stdout: process.stdout, signal });
  try {
    const done = await place.withObjects(threadsFor(place), lookups, (pool, get) =>
      exportTar(pool, (_, id) => get(id), {
        root: archive.root,
        space,
        path: fromText(options.path?.[0] ?? ''),
        output,
        signal,
        onProgress: (bytesDone) => place.onProgress(bytesDone, archive.sizeBytes),
        warn: (message) => warnings.add(message),
      }),
    );
    await output.finish();
    warnings.finish();
    return done;
  } catch (error) {
    await output.discard();
    throw error;
  }
}

interface Exported {
  readonly snapshot: string;
  readonly archive: string;
  readonly target: string;
  readonly bytes: number;
  readonly members: number;
  readonly durationMs: number;
}

function describe(value: Exported): string {
  return pairs([
    ['restored', `${value.archive} of ${value.snapshot}`],
    ['to', value.target],
    ['size', formatBytes(value.bytes)],
    ['members', String(value.members)],
    ['time', formatDuration(value.durationMs)],
  ]);
}
