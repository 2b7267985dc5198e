// borg, restic and casync as their users run them. All state of a peer lies below one home folder, caches too, so that copying
// the folder back resets it. Borg runs without encryption, as we do here; restic cannot.
import { mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Command } from './measure.ts';
import { missingTools } from './tools.ts';
import { type FolderSize, folderSize } from './workspace.ts';

export interface Peer {
  name: string;
  /** Why it cannot run here. */
  missing: string | undefined;
  /** Every repository cuts elsewhere, so that what a change costs must be measured on several. */
  cutsAtRandom?: boolean;
  /** Makes an empty repository; undefined when the first backup does. */
  create?: (home: string) => Command;
  backup(home: string, image: string): Command;
  /** Restores the backup of `image` so that it ends at `join(target, basename(image))`. */
  restore(home: string, image: string, target: string): Command;
  stored(home: string): FolderSize;
}

export function borg(compression: string): Peer {
  const env = (home: string): Record<string, string> => ({
    BORG_BASE_DIR: join(home, 'base'),
    BORG_REPO: join(home, 'repository'),
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
    BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes',
  });
  return {
    name: `borg ${compression}`,
    missing: missingTools('borg'),
    create: (home) => ({ argv: ['borg', 'init', '--encryption', 'none'], env: env(home) }),
    backup: (home, image) => ({
      argv: ['borg', 'create', '--compression', compression, `::${basename(image)}`, basename(image)],
      cwd: dirname(image),
      env: env(home),
    }),
    restore: (home, image, target) => ({
      argv: ['borg', 'extract', '--sparse', `::${basename(image)}`],
      cwd: target,
      env: env(home),
    }),
    stored: (home) => folderSize(join(home, 'repository')),
  };
}

export function restic(): Peer {
  const env = { RESTIC_PASSWORD: 'bench' };
  const argv = (home: string, ...args: string[]): string[] => [
    'restic',
    ...['--repo', join(home, 'repository'), '--cache-dir', join(home, 'cache'), '--quiet'],
    ...args,
  ];
  return {
    name: 'restic',
    missing: missingTools('restic'),
    cutsAtRandom: true,
    create: (home) => ({ argv: argv(home, 'init'), env }),
    backup: (home, image) => ({ argv: argv(home, 'backup', basename(image)), cwd: dirname(image), env }),
    restore: (home, _image, target) => ({ argv: argv(home, 'restore', 'latest', '--target', target), env }),
    stored: (home) => folderSize(join(home, 'repository')),
  };
}

/** Chunks of 64 KiB on average, its default and ours. */
export function casync(): Peer {
  const store = (home: string): string => `--store=${join(home, 'store.castr')}`;
  const index = (home: string, image: string): string => join(home, `${basename(image)}.caibx`);
  return {
    name: 'casync 64 KiB',
    missing: missingTools('casync'),
    backup: (home, image) => {
      mkdirSync(join(home, 'store.castr'), { recursive: true });
      return { argv: ['casync', 'make', store(home), '--chunk-size=65536', index(home, image), image] };
    },
    restore: (home, image, target) => ({
      argv: ['casync', 'extract', store(home), index(home, image), join(target, basename(image))],
    }),
    stored: (home) => folderSize(home),
  };
}
