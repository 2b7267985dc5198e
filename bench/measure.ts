// Measures one command as a whole process, start and end included, by GNU time: it knows the CPU of all children and threads.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { watchPss } from './process-memory.ts';

const GNU_TIME = '/usr/bin/time';

export interface Command {
  argv: readonly string[];
  cwd?: string;
  env?: Readonly<Record<string, string>>;
}

export interface Usage {
  wallS: number;
  userS: number;
  sysS: number;
  /** User and system time of the process, its threads and the children it waited for. */
  cpuS: number;
  /** Of the largest single process. */
  peakRssMiB: number;
  /** Of the whole process tree at once, sampled; only when asked for. */
  peakPssMiB?: number;
}

export interface Measured {
  usage: Usage;
  stdout: string;
}

/** The command ended with an exit code other than 0; the message ends with what it wrote last. */
export class CommandFailed extends Error {}

/** Without what makes every start of Node slower on some machines: more certificates to parse, options of somebody's shell. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: _, NODE_OPTIONS: __, ...rest } = process.env;
  return rest;
}

/** Runs the command to its end. Throws CommandFailed, or an error that names the package when GNU time is missing. */
export async function measure(command: Command, options: { samplePss?: boolean } = {}): Promise<Measured> {
  if (!existsSync(GNU_TIME)) throw new Error(`${GNU_TIME} is missing; as root: apt-get install -y time`);
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-measure-'));
  const path = (name: string): string => join(directory, name);
  const [stdout, stderr] = [openSync(path('stdout'), 'w'), openSync(path('stderr'), 'w')];
  try {
    const child = spawn(GNU_TIME, ['-f', '%U %S %M', '-o', path('time'), '--', ...command.argv], {
      cwd: command.cwd,
      env: { ...plainEnvironment(), ...command.env },
      stdio: ['ignore', stdout, stderr],
    });
    const started = process.hrtime.bigint();
    const pss = options.samplePss ? watchPss(child.pid!) : undefined;
    const [code] = (await once(child, 'exit')) as [number | null];
    const wallS = Number(process.hrtime.bigint() - started) / 1e9;
    const peakPssMiB = pss?.stop();
    if (code !== 0) {
      const said = readFileSync(path('stderr'), 'utf8').trim().slice(-600);
      throw new CommandFailed(`${command.argv.slice(0, 4).join(' ')} ended with ${code ?? 'a signal'}: ${said}`);
    }
    const usage = { wallS, ...parseTime(readFileSync(path('time'), 'utf8')) };
    return {
      usage: peakPssMiB === undefined ? usage : { ...usage, peakPssMiB },
      stdout: readFileSync(path('stdout'), 'utf8'),
    };
  } finally {
    closeSync(stdout);
    closeSync(stderr);
    rmSync(directory, { recursive: true, force: true });
  }
}

function parseTime(text: string): Omit<Usage, 'wallS' | 'peakPssMiB'> {
  const [userS, sysS, rssKiB] = text.trim().split('\n').at(-1)!.split(' ').map(Number);
  return { userS, sysS, cpuS: userS + sysS, peakRssMiB: rssKiB / 1024 };
}

/** Several commands that do one job after another: times add up, memory is the largest. */
export function addUsage(usages: readonly Usage[]): Usage {
  const sum = (pick: (usage: Usage) => number): number => usages.reduce((total, usage) => total + pick(usage), 0);
  const pss = usages.map((usage) => usage.peakPssMiB).filter((value) => value !== undefined);
  return {
    wallS: sum((usage) => usage.wallS),
    userS: sum((usage) => usage.userS),
    sysS: sum((usage) => usage.sysS),
    cpuS: sum((usage) => usage.cpuS),
    peakRssMiB: Math.max(...usages.map((usage) => usage.peakRssMiB)),
    ...(pss.length > 0 && { peakPssMiB: Math.max(...pss) }),
  };
}
