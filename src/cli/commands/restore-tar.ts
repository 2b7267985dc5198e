// holdfast restore ct/200/latest root.tree --tar FILE|- [--path SUBDIR] [--zstd]
import { exportTar, type TarExported } from '../../agent/tar/export-tar.ts';
import { TarOutput } from '../../agent/tar/tar-output.ts';
import { TreeWarnings } from '../../agent/tree/tree-warnings.ts';
import type { Archive } from '../../schema/manifest.ts';
import { fromText } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { warn } from '../repository.ts';

export interface RestoreTarOptions {
  readonly tar?: string;
  readonly zstd?: boolean;
  readonly path?: string;
  readonly overwrite?: boolean;
}

export interface RestoreTarWork {
  readonly archive: Archive;
  readonly space: number;
  /** A file, or `-` for standard output. */
  readonly target: string;
  readonly signal: AbortSignal;
  readonly onProgress: (bytesDone: number, bytesTotal: number) => void;
}

/** @throws `bad-argument` when the archive is no tree; else as `exportTar`. */
export async function restoreTar(
  pool: WorkerPool,
  { archive, space, target, signal, onProgress }: RestoreTarWork,
  options: RestoreTarOptions,
): Promise<TarExported> {
  if (archive.kind !== 'tree')
    throw new HoldfastError(
      'bad-argument',
      `${archive.name} is no file tree: only a .tree can be restored as a tar archive`,
    );
  const zstd = options.zstd === true || /\.(zst|tzst)$/.test(target);
  const warnings = new TreeWarnings((message) => warn(`${archive.name}: ${message}`));
  const output = await TarOutput.open({
    target,
    overwrite: options.overwrite === true,
    zstd,
    stdout: process.stdout,
    signal,
  });
  try {
    const exported = await exportTar(pool, (of, id) => pool.call(0, 'store.read', { space: of, id }), {
      root: archive.root,
      space,
      path: fromText(options.path ?? ''),
      output,
      signal,
      onProgress: (bytesDone) => onProgress(bytesDone, archive.sizeBytes),
      warn: (message) => warnings.add(message),
    });
    await output.finish();
    warnings.finish();
    return exported;
  } catch (error) {
    await output.discard();
    throw error;
  }
}
