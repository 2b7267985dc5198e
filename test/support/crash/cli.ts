// The built CLI as a child process: run to its end, run with a fault, or killed after a time. Tests see what a user sees.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type FaultPlan, type FaultRun, runWithFault } from '../faults/faults.ts';

export const PROGRAM = fileURLToPath(new URL('../../../dist/holdfast.js', import.meta.url));
export const WORKER = new URL('../../../dist/worker.js', import.meta.url);
/** Many times the longest command of these tests: what runs into it hangs. */
export const TIMEOUT_MS = 120_000;

export const skipWithoutBuild = (): string | false => !existsSync(PROGRAM) && 'dist/ is missing: npm run build';

export interface CliRun {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The arguments of the program for a command with JSON output on a repository. */
export function commandArguments(root: string, args: readonly string[]): string[] {
  return [...args, '--repository', root, '--output-format', 'json'];
}

/** The same for Node. */
export const cliArguments = (root: string, args: readonly string[]): string[] => [
  PROGRAM,
  ...commandArguments(root, args),
];

export interface CliOptions {
  /** SIGKILL after so many milliseconds. */
  killAfterMs?: number;
  /** Called with the running child, whose standard input is a pipe then. */
  whileRunning?: (child: ChildProcess) => Promise<void>;
}

/** Runs a command to its end. */
export async function holdfast(root: string, args: readonly string[], options: CliOptions = {}): Promise<CliRun> {
  const stdin = options.whileRunning === undefined ? 'ignore' : 'pipe';
  const child = spawn(process.execPath, cliArguments(root, args), { stdio: [stdin, 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin?.on('error', () => {});
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, killedBy) => resolve([code, killedBy]));
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), options.killAfterMs ?? TIMEOUT_MS);
  try {
    await options.whileRunning?.(child);
  } catch (error) {
    child.kill('SIGKILL');
    await ended;
    clearTimeout(timer);
    throw error;
  }
  const [status, signal] = await ended;
  clearTimeout(timer);
  if (signal === 'SIGKILL' && options.killAfterMs === undefined) {
    throw new Error(`holdfast ${args.join(' ')} did not end within ${TIMEOUT_MS} ms: ${stderr}`);
  }
  return { status, signal, stdout, stderr };
}

/** Runs a command under a fault plan; by default the calls below the repository count, less those of SQLite. */
export function holdfastWithFault(
  root: string,
  args: readonly string[],
  plan: Omit<FaultPlan, 'directory' | 'log'> & { directory?: string },
): Promise<FaultRun> {
  const full = { directory: root, excludeSqlite: true, ...plan };
  return runWithFault(cliArguments(root, args), full, { timeoutMs: TIMEOUT_MS });
}

/** The JSON of a command that must have succeeded. */
export function jsonOf<Value>(run: CliRun): Value {
  if (run.status !== 0) throw new Error(`exit ${run.status ?? run.signal}: ${run.stderr.trim() || run.stdout.trim()}`);
  return JSON.parse(run.stdout) as Value;
}

/** What a failed command said. */
export function errorOf(run: CliRun): { code: string; message: string } {
  const line = run.stderr.split('\n').find((each) => each.startsWith('{"error"'));
  if (line === undefined)
    throw new Error(`exit ${run.status ?? run.signal} without an error: ${run.stderr || run.stdout}`);
  return (JSON.parse(line) as { error: { code: string; message: string } }).error;
}

export interface BackupSummary {
  readonly snapshot: string;
  readonly sequence: number;
  readonly objectsNew: number;
  readonly objectsReused: number;
  readonly objectsAdopted: number;
}
