// Faults in a child process: its n-th write, sync, rename ... below one directory fails, comes short, or is its last. The
// calls are numbered in the process by an LD_PRELOAD library, so a kill point found once is found again.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { reasonForTools } from '../power-cut/scratch.ts';

/** `write` and `pwrite` include the vectored calls; `open` only what creates or empties a file. */
export const FAULT_OPS = [
  'write',
  'pwrite',
  'fsync',
  'fdatasync',
  'ftruncate',
  'rename',
  'link',
  'unlink',
  'mkdir',
  'rmdir',
  'open',
] as const;
export type FaultOp = (typeof FAULT_OPS)[number];

/**
 * `count` only logs; `kill` is SIGKILL before the call, `tear` after half of it (after all of it for a call without bytes);
 * `short` writes half, and libuv goes on with the rest by itself; `full` writes half and refuses everything numbered later
 * with ENOSPC, which Node then sees as a short write; the rest are errors.
 */
export type FaultAction =
  | 'count'
  | 'kill'
  | 'tear'
  | 'short'
  | 'full'
  | 'eio'
  | 'enospc'
  | 'erofs'
  | 'edquot'
  | 'eacces'
  | 'emfile';

export interface FaultPlan {
  /** Calls on this directory and below it are numbered; the others are left alone. */
  directory: string;
  /** Which calls are numbered; default all. */
  ops?: readonly FaultOp[];
  /** From 1; default 1. */
  nth?: number;
  action: FaultAction;
  /** Also every numbered call after the n-th. */
  sticky?: boolean;
  /** File names that do not count, with what SQLite derives from them: `lock.db` is also `lock.db-journal`. */
  exclude?: readonly string[];
  /** Leaves out what better-sqlite3 does, whatever the file; `exclude` cannot name its syncs of the directory. */
  excludeSqlite?: boolean;
  /** Only paths with one of these in the part below the directory. */
  only?: readonly string[];
  /** Calls count, fail and are logged only while this file exists: a switch at run time. */
  whileFile?: string;
  /** A file to which every call that is not excluded is appended, also those that are not numbered. */
  log?: string;
}

export interface FaultCall {
  /** 0 when the plan's `ops` leave it out. */
  readonly number: number;
  readonly op: FaultOp;
  /** Of a write, or the new size of a truncation. */
  readonly bytes: number;
  /** Below the directory, with a slash at the start; empty for the directory itself. */
  readonly path: string;
}

export interface FaultRun {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** In the order in which they began; a killed process did all but the last. */
  readonly calls: readonly FaultCall[];
}

export const skipFaults = (): string | false =>
  process.platform === 'linux' ? reasonForTools('gcc') : 'LD_PRELOAD faults need Linux';

/** Variables for `spawn`. Only that process is hit: `node --import tsx file.ts`, not the `tsx` program, which starts another. */
export function faultEnvironment(plan: FaultPlan): Record<string, string> {
  const settings: Record<string, string | undefined> = {
    dir: realpathSync(plan.directory),
    op: plan.ops?.join(','),
    nth: String(plan.nth ?? 1),
    do: plan.action,
    sticky: plan.sticky ? '1' : undefined,
    exclude: plan.exclude?.join(','),
    notfrom: plan.excludeSqlite ? 'better_sqlite3' : undefined,
    only: plan.only?.join(','),
    while: plan.whileFile,
    log: plan.log,
  };
  const given = Object.entries(settings).filter((entry): entry is [string, string] => entry[1] !== undefined);
  for (const [name, value] of given) if (value.includes(';')) throw new Error(`HF_FAULT: ${name} contains a semicolon`);
  // With io_uring libuv would write without calling libc.
  const HF_FAULT = given.map(([name, value]) => `${name}=${value}`).join(';');
  return { LD_PRELOAD: faultLibrary(), HF_FAULT, UV_USE_IO_URING: '0' };
}

/** Runs Node with the plan to its end and returns what it did. */
export async function runWithFault(
  nodeArgs: readonly string[],
  plan: Omit<FaultPlan, 'log'>,
  options: { env?: Record<string, string>; cwd?: string; timeoutMs?: number } = {},
): Promise<FaultRun> {
  const folder = mkdtempSync(join(tmpdir(), 'hf-fault-'));
  try {
    const log = join(folder, 'calls');
    const env = { ...process.env, ...options.env, ...faultEnvironment({ ...plan, log }) };
    const timeout = options.timeoutMs ?? 60_000;
    const child = spawn(process.execPath, nodeArgs, {
      env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout,
      killSignal: 'SIGABRT',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const [status, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, killedBy) => resolve([code, killedBy]));
    });
    if (signal === 'SIGABRT') throw new Error(`aborted, or not done within ${timeout} ms: ${stderr}`);
    return { status, signal, stdout, stderr, calls: readCalls(log) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The calls in a log file, those of several threads in the order in which they were logged. */
export function readCalls(log: string): FaultCall[] {
  if (!existsSync(log)) return [];
  const lines = readFileSync(log, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => {
    const [number, op, bytes, ...path] = line.split('\t');
    return { number: Number(number), op: op as FaultOp, bytes: Number(bytes), path: path.join('\t') };
  });
}

/** How many calls of each kind there are: the range from which `nth` is chosen. */
export function countCalls(calls: readonly FaultCall[]): Record<FaultOp, number> {
  const counts = Object.fromEntries(FAULT_OPS.map((op) => [op, 0])) as Record<FaultOp, number>;
  for (const call of calls) counts[call.op]++;
  return counts;
}

/** Compiles the library once per version of its source. */
export function faultLibrary(): string {
  const source = fileURLToPath(new URL('preload.c', import.meta.url));
  const text = readFileSync(source);
  const folder = join(tmpdir(), `holdfast-faults-${process.getuid?.() ?? 0}`);
  const library = join(folder, `${createHash('sha256').update(text).digest('hex').slice(0, 16)}.so`);
  if (existsSync(library)) return library;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const temporary = `${library}.${process.pid}`;
  writeFileSync(temporary, '');
  execFileSync('gcc', ['-shared', '-fPIC', '-O2', '-Wall', '-o', temporary, source, '-ldl'], { timeout: 60_000 });
  renameSync(temporary, library);
  return library;
}
