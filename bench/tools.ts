// The programs we compare with, as Debian packages them: is it here, which version, and how to get it.
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

const PACKAGE_OF = {
  borg: 'borgbackup',
  restic: 'restic',
  casync: 'casync',
  zstd: 'zstd',
  b3sum: 'b3sum',
  mke2fs: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  cmp: 'diffutils',
  time: 'time',
  nbdcopy: 'libnbd-bin',
  'qemu-img': 'qemu-utils',
} as const;

export type Tool = keyof typeof PACKAGE_OF;
export const ALL_TOOLS = Object.keys(PACKAGE_OF) as Tool[];

function isInstalled(tool: Tool): boolean {
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].some((directory) => {
    try {
      accessSync(join(directory, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The apt-get line for those of the tools that are not installed; undefined when all are here. */
export function missingTools(...tools: Tool[]): string | undefined {
  const packages = new Set(tools.filter((tool) => !isInstalled(tool)).map((tool) => PACKAGE_OF[tool]));
  return packages.size === 0 ? undefined : `not installed; as root: apt-get install -y ${[...packages].join(' ')}`;
}

/** First line of what each peer says about its version. */
export function toolVersions(): Record<string, string> {
  const version = (tool: Tool, ...args: string[]): string => {
    if (!isInstalled(tool)) return 'missing';
    return (spawnSync(tool, args, { encoding: 'utf8' }).stdout ?? '').split('\n')[0].trim();
  };
  return {
    borg: version('borg', '--version'),
    restic: version('restic', 'version'),
    casync: version('casync', '--version'),
    zstd: version('zstd', '--version'),
    b3sum: version('b3sum', '--version'),
  };
}
