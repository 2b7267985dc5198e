// Runs a script of the administrator: never through a shell, bounded in time and in what it says, which is told line by line as it comes. It gets only the
// variables that are named here: secrets of this process stay in it.
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { asUsual } from './child-priority.ts';
import { HoldfastError, systemCode } from './errors.ts';

export const HOOK_TIMEOUT_MS = 10 * 60_000;
const MAX_LINES = 1_000;
const MAX_LINE_LENGTH = 1_024;
/** For what a script left in the background and that holds its output open. */
const DRAIN_MS = 500;

const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/**
 * The script's real path. It is run as this user, so it must be this user's or root's, and nobody else may write to it or put another in its place.
 * @throws `bad-argument`, `not-found`.
 */
export async function requireHookScript(path: string): Promise<string> {
  const refuse = (why: string) => new HoldfastError('bad-argument', `hook script ${path} ${why}`);
  if (!isAbsolute(path)) throw refuse('is no absolute path');
  const real = await realpath(path).catch((cause: unknown) => {
    if (systemCode(cause) === 'ENOENT')
      throw new HoldfastError('not-found', `hook script ${path} does not exist`, { cause });
    throw cause;
  });
  for (const each of [real, dirname(real)]) {
    const { uid, mode } = await stat(each);
    const isSafe = (mode & OTHERS_WRITE) === 0 || (each !== real && (mode & STICKY) !== 0);
    if (uid !== 0 && uid !== process.getuid?.()) throw refuse(`is not safe: ${each} belongs to another user (${uid})`);
    if (!isSafe) throw refuse(`is not safe: others may write to ${each}; chmod go-w ${each}`);
  }
  if (!(await stat(real)).isFile()) throw refuse('is no file');
  await access(real, constants.X_OK).catch((cause: unknown) => {
    throw new HoldfastError('bad-argument', `hook script ${path} cannot be run; chmod u+x ${path}`, { cause });
  });
  return real;
}

export interface HookRun {
  /** From `requireHookScript`. */
  readonly path: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
  /** Default `HOOK_TIMEOUT_MS`. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** @throws `source-failed` for a status other than 0, `timed-out`, `aborted`; the script and what it started in its group is killed then. */
export async function runHookScript({
  path,
  args,
  environment,
  log,
  timeoutMs = HOOK_TIMEOUT_MS,
  signal,
}: HookRun): Promise<void> {
  const name = `hook script ${path} ${args[0] ?? ''}`.trim();
  signal?.throwIfAborted();
  const { PATH = '/usr/sbin:/usr/bin:/sbin:/bin', HOME, LANG, TZ } = process.env;
  const env = Object.fromEntries(
    Object.entries({ PATH, HOME, LANG, TZ, ...environment }).filter(([, value]) => value !== undefined),
  );
  await new Promise<void>((resolve, reject) => {
    // A group of its own, so that its end is the end of all it started.
    const child = asUsual(spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'], env, cwd: '/', detached: true }));
    let stopped: HoldfastError | undefined;
    const stop = (error: HoldfastError): void => {
      stopped ??= error;
      killGroup(child.pid);
    };
    const onAbort = () => stop(new HoldfastError('aborted', `${name} was aborted`, { cause: signal?.reason }));
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(
      () => stop(new HoldfastError('timed-out', `${name} did not end within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    let lines = 0;
    const tell = (line: string): void => {
      lines++;
      if (lines <= MAX_LINES) log(line.slice(0, MAX_LINE_LENGTH));
      if (lines === MAX_LINES + 1) log(`(${name} says more than ${MAX_LINES} lines; the rest is left out)`);
    };
    const ends = [child.stdout, child.stderr].map((stream) => {
      const reader = lineReader(tell);
      stream.on('data', reader.take);
      return reader.end;
    });
    let drain: NodeJS.Timeout | undefined;
    const settle = (error?: unknown): void => {
      clearTimeout(timer);
      clearTimeout(drain);
      signal?.removeEventListener('abort', onAbort);
      for (const end of ends) end();
      child.stdout.destroy();
      child.stderr.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    const finish = (status: number | null, killedBy: string | null): void => {
      if (stopped !== undefined || status === 0) {
        settle(stopped);
        return;
      }
      settle(
        new HoldfastError(
          'source-failed',
          `${name} ended with ${killedBy === null ? `status ${status}` : `signal ${killedBy}`}`,
          {
            data: { status, killedBy },
          },
        ),
      );
    };
    child.once('error', (cause) =>
      settle(new HoldfastError('source-failed', `${name} cannot be started: ${cause.message}`, { cause })),
    );
    child.once('exit', (status, killedBy) => {
      drain = setTimeout(() => finish(status, killedBy), DRAIN_MS);
    });
    child.once('close', finish);
  });
}

/** Cuts at line ends; a line that never ends is told in pieces. */
function lineReader(tell: (line: string) => void): { take(data: Buffer): void; end(): void } {
  const decoder = new StringDecoder();
  let rest = '';
  return {
    take: (data) => {
      const parts = (rest + decoder.write(data)).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) tell(part.trimEnd());
      if (rest.length > MAX_LINE_LENGTH) {
        tell(rest);
        rest = '';
      }
    },
    end: () => {
      if (rest !== '') tell(rest.trimEnd());
      rest = '';
    },
  };
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}
