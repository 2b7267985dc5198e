// The QEMU builds that tests can run against: the installed one, and the QEMU 10 that scripts/fetch-qemu-10.mjs put beside it.
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NodeQemu } from './vm-node.ts';

export type QemuTool = 'qemu-system-x86_64' | 'qemu-img' | 'qemu-nbd' | 'qemu-storage-daemon';

export interface QemuBuild {
  /** For the names of tests: `QEMU 7.2.22`, or the wanted `QEMU 10` when it is not there. */
  readonly name: string;
  /** Why it cannot be tested here, for a test's `skip`; false when it can. */
  readonly skip: string | false;
  readonly major: number;
  /** Path of a program, or its name where the search path has it. */
  tool(name: QemuTool): string;
  /** What qemu-system needs before its own arguments. */
  readonly systemArgs: readonly string[];
  /** What its programs need in their environment. */
  readonly env: Readonly<Record<string, string>>;
}

const beside = fileURLToPath(new URL('../../../.cache/qemu-10/usr', import.meta.url));

export const installedQemu: QemuBuild = build({
  wanted: 'QEMU, installed',
  missing: 'qemu-system-x86_64 is not installed here',
  tool: (name) => onPath(name) ?? name,
  systemArgs: [],
  env: {},
});

export const qemu10: QemuBuild = build({
  wanted: 'QEMU 10',
  missing: 'QEMU 10 is not there: node scripts/fetch-qemu-10.mjs',
  tool: (name) => join(beside, 'bin', name),
  // Its firmware is in the package seabios of the system; its modules must not be those of the installed build.
  systemArgs: ['-L', join(beside, 'share/qemu'), '-L', '/usr/share/seabios'],
  env: { QEMU_MODULE_DIR: join(beside, 'lib/x86_64-linux-gnu/qemu') },
});

/** Each once, those that are not there with the reason. */
export const qemuBuilds: readonly QemuBuild[] = [installedQemu, qemu10];

/** For a node whose guests run on it. */
export function nodeQemuOf(build: QemuBuild): NodeQemu {
  const { systemArgs: args, env } = build;
  return { program: build.tool('qemu-system-x86_64'), args, env, storageDaemon: build.tool('qemu-storage-daemon') };
}

function build(given: Pick<QemuBuild, 'tool' | 'systemArgs' | 'env'> & { wanted: string; missing: string }): QemuBuild {
  const { wanted, missing, ...how } = given;
  const system = how.tool('qemu-system-x86_64');
  if (!existsSync(system)) return { ...how, name: wanted, skip: missing, major: 0 };
  try {
    const words = execFileSync(system, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    const [, version, major] = /version ((\d+)\.\d+\.\d+)/.exec(words)!;
    return { ...how, name: `QEMU ${version}`, skip: false, major: Number(major) };
  } catch (error) {
    return { ...how, name: wanted, skip: `it does not start here: ${(error as Error).message}`, major: 0 };
  }
}

function onPath(name: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(':')
    .map((directory) => join(directory, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
