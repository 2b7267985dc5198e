// A guest's QEMU process: started so that it outlives us, found again by whoever comes next, ended.
import { spawn } from 'node:child_process';
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asAnyProgram } from '../../util/child-priority.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { toolMissing } from '../../util/run.ts';
import type { RunDirectory } from '../node-directory.ts';
import { connectWhenReady } from '../qmp/connect-when-ready.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { QemuProgram } from './qemu-program.ts';

/** Opening of large images on slow storage included. */
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
/** Of a process that no longer answers; one in an uninterruptible wait stays longer, and is told. */
const KILL_TIMEOUT_MS = 10_000;
const LOG_BYTES = 8_192;
/** A backup that starts its guest again may go after everybody else at the disk; the guest does not. */
const USUAL_IO = ['ionice', '-t', '-c', '0'];

export interface StartOptions {
  readonly label: string;
  /** Put before the program: the way into its control group. */
  readonly argvPrefix: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts QEMU and connects to its control monitor. On any failure nothing is left running.
 * @throws `guest-failed` with QEMU's own words, `tool-missing`, `timed-out`, `aborted`.
 */
export async function startQemu(
  qemu: QemuProgram,
  args: readonly string[],
  run: RunDirectory,
  options: StartOptions,
): Promise<QmpClient> {
  await clearRunDirectory(run);
  const log = await open(run.errorLog, 'w', 0o600);
  const command = [...USUAL_IO, ...options.argvPrefix, qemu.program, ...qemu.args, ...args];
  const environment = { ...process.env, ...qemu.environment, LC_ALL: 'C' };
  let ended: Error | 'ended' | undefined;
  const child = spawn(command[0] as string, command.slice(1), {
    // A session of its own: no signal of our terminal or group reaches it.
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    env: environment,
    cwd: '/',
  });
  asAnyProgram(child);
  child.once('error', (error) => {
    ended = systemCode(error) === 'ENOENT' ? toolMissing(command[0] as string, error) : error;
  });
  child.once('exit', () => {
    ended ??= 'ended';
  });
  child.unref();
  await log.close();
  try {
    const { label, signal } = options;
    const failure = async (): Promise<Error | undefined> =>
      ended === 'ended' ? new HoldfastError('guest-failed', `${label}: QEMU ended: ${await lastWords(run)}`) : ended;
    return await connectWhenReady(run.controlMonitor, { label, timeoutMs: START_TIMEOUT_MS, signal, failure });
  } catch (error) {
    if (child.pid !== undefined && ended === undefined) child.kill('SIGKILL');
    throw error;
  }
}

/** What QEMU printed last, on one line. */
export async function lastWords(run: RunDirectory): Promise<string> {
  const text = await readFile(run.errorLog, 'utf8').catch(() => '');
  const words = text
    .slice(-LOG_BYTES)
    .trim()
    .replaceAll(/\s*\n\s*/g, ' / ');
  return words === '' ? 'it said nothing' : words;
}

/** Sockets and marks of an earlier start; nothing runs there, or this would take its monitors away. */
async function clearRunDirectory(run: RunDirectory): Promise<void> {
  await mkdir(run.path, { recursive: true, mode: 0o700 });
  for (const name of await readdir(run.path)) {
    if (/\.(qmp|sock|pid|nbd)$|^(frozen|paused)$/.test(name)) await rm(join(run.path, name), { force: true });
  }
}

/** The pid of the guest's QEMU, or undefined when none runs. A pid that was given to another program is not taken for it. */
export async function findQemu(run: RunDirectory): Promise<number | undefined> {
  const text = await readFile(run.pidFile, 'utf8').catch(absent);
  const pid = Number(text?.trim());
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(absent);
  return command?.includes(`path=${run.controlMonitor.replaceAll(',', ',,')}`) ? pid : undefined;
}

/** Ends QEMU: by `quit`, which stores its bitmaps, and when it does not answer by a signal. @throws `timed-out` when it cannot be killed. */
export async function endQemu(run: RunDirectory, monitor: QmpClient | undefined, timeoutMs: number): Promise<void> {
  const pid = await findQemu(run);
  if (pid === undefined) return;
  const isAsked = await monitor?.execute('quit', undefined, { timeoutMs }).then(
    () => true,
    () => false,
  );
  if (isAsked === true && (await hasExited(pid, timeoutMs))) return;
  // SIGTERM is `quit` without a monitor.
  signalQemu(pid, 'SIGTERM');
  if (await hasExited(pid, timeoutMs)) return;
  signalQemu(pid, 'SIGKILL');
  if (await hasExited(pid, KILL_TIMEOUT_MS)) return;
  throw new HoldfastError(
    'timed-out',
    `QEMU (process ${pid}) does not end although it was killed: it waits for a storage that does not answer`,
    { data: { pid } },
  );
}

/** Waits for the process to be gone. */
export async function hasGone(run: RunDirectory, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while ((await findQemu(run)) !== undefined) {
    if (performance.now() >= deadline) return false;
    signal?.throwIfAborted();
    await sleep(POLL_MS);
  }
  return true;
}

/** QEMU removes its pid file some time before it has let go of its disks, its taps and its control group. */
async function hasExited(pid: number, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(absent);
    // The name in parentheses may hold anything; the state follows it. A process whose parent does not fetch its end stays so, but its threads have to be gone.
    const isDead = stat === undefined || /^ [ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1));
    if (isDead && ((await readdir(`/proc/${pid}/task`).catch(absent)) ?? []).length <= 1) return true;
    if (performance.now() >= deadline) return false;
    await sleep(POLL_MS);
  }
}

function signalQemu(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}

function absent(error: unknown): undefined {
  if (['ENOENT', 'ESRCH', 'EACCES'].includes(systemCode(error) ?? '')) return undefined;
  throw error;
}
