// A guest's control group where systemd is PID 1: the control groups are systemd's, and it is asked for one, a scope, by `systemd-run`.
import { readIfPresent } from '../../util/atomic-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import { run } from '../../util/run.ts';

export interface CpuAndMemory {
  /** Whole processors or parts of them; 0 and undefined are no limit. */
  readonly cpulimit?: number | undefined;
  readonly cpuunits?: number | undefined;
  readonly memoryMaxBytes?: number | undefined;
}

/** Whether systemd runs this machine (sd_booted(3)). */
export async function isSystemdBooted(): Promise<boolean> {
  return (await readIfPresent('/proc/1/comm'))?.trim() === 'systemd';
}

/** What to put before a command so that it runs in the scope. `systemd-run` becomes the command, so the process id stays. */
export function scopeCommand(unit: string, limits: CpuAndMemory): string[] {
  const { cpulimit, cpuunits, memoryMaxBytes } = limits;
  const properties = [
    cpulimit ? [`CPUQuota=${Math.round(cpulimit * 100)}%`] : [],
    cpuunits === undefined ? [] : [`CPUWeight=${cpuunits}`],
    memoryMaxBytes === undefined ? [] : [`MemoryMax=${memoryMaxBytes}`],
  ].flat();
  const options = ['--scope', '--quiet', '--collect', `--unit=${unit}`, '--slice=holdfast.slice'];
  return ['systemd-run', ...options, ...properties.flatMap((property) => ['-p', property]), '--'];
}

/** The scope's path below the root of the control groups; undefined while there is none. */
export async function findScope(unit: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  const args = ['show', '--property=ControlGroup', '--value', `${unit}.scope`];
  const { stdout } = await run('systemctl', args, { signal, timeoutMs: 10_000, failure: 'guest-failed' });
  const path = stdout.trim();
  if (path === '') return undefined;
  if (path.endsWith(`/${unit}.scope`) && !path.split('/').includes('..')) return path;
  throw new HoldfastError('guest-failed', `systemd says that ${unit}.scope is at '${path}'`);
}
