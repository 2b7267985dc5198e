// Runs one program to its end and returns what it printed: bounded in time and output, stopped by a signal, never through
// a shell. A program that is not installed is `tool-missing`, with the Debian package that has it.
import { spawn } from 'node:child_process';
import { asUsual } from './child-priority.ts';
import { type ErrorCode, HoldfastError, systemCode } from './errors.ts';

/** Debian package of the programs that Holdfast starts. */
export const TOOL_PACKAGES: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'qemu-storage-daemon': 'qemu-system-common',
  setpriv: 'util-linux',
  taskset: 'util-linux',
  ionice: 'util-linux',
  lzop: 'lzop',
  ip: 'iproute2',
  bridge: 'iproute2',
  tc: 'iproute2',
  genisoimage: 'genisoimage',
  xorriso: 'xorriso',
  openssl: 'openssl',
  btrfs: 'btrfs-progs',
  swtpm: 'swtpm',
  swtpm_setup: 'swtpm-tools',
};

export interface RunOptions {
  signal?: AbortSignal | undefined;
  /** Wall time; default 60 s. */
  timeoutMs?: number;
  input?: string | Uint8Array;
  /** Hears stdout as it comes, in whatever pieces; for progress. */
  onOutput?: (text: string) => void;
  /** Of stdout; default 16 MiB. Of stderr the first 64 KiB are kept and the rest is dropped. */
  maxOutputBytes?: number;
  /** Variables beside those of this process. */
  environment?: Readonly<Record<string, string>>;
  /** Code of the error for an exit status other than 0; default `source-failed`. */
  failure?: ErrorCode;
}

export interface RunResult {
  stdout: string;
  stderr: string;
}

/** The error for a program that is not installed. */
export function toolMissing(tool: string, cause?: unknown): HoldfastError {
  const name = tool.slice(tool.lastIndexOf('/') + 1);
  const pack = TOOL_PACKAGES[name];
  const advice = pack === undefined ? 'install it' : `install the Debian package ${pack}`;
  return new HoldfastError('tool-missing', `${tool} is not installed; ${advice}`, {
    cause,
    data: { tool, package: pack },
  });
}

/** Throws `tool-missing`, `timed-out`, `aborted`, `too-large` (output), or `options.failure` with the program's own words. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { signal, timeoutMs = 60_000, input, onOutput, maxOutputBytes = 16 << 20, failure = 'source-failed' } = options;
  return new Promise((resolve, reject) => {
    let stopped: HoldfastError | undefined;
    const aborted = () => new HoldfastError('aborted', `${command} was aborted`, { cause: signal?.reason });
    if (signal?.aborted) return reject(aborted());
    // Messages are passed on to people and, in tests, compared: one language.
    const env = { ...process.env, ...options.environment, LC_ALL: 'C' };
    const child = asUsual(
      spawn(command, args, { stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'], env }),
    );
    const stop = (error: HoldfastError) => {
      stopped ??= error;
      child.kill('SIGKILL');
    };
    const onAbort = () => stop(aborted());
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(() => {
      stop(new HoldfastError('timed-out', `${command} did not end within ${timeoutMs} ms`));
    }, timeoutMs);
    const out: Buffer[] = [];
    const errors: Buffer[] = [];
    let outBytes = 0;
    let errorBytes = 0;
    child.stdout!.on('data', (data: Buffer) => {
      outBytes += data.length;
      if (outBytes > maxOutputBytes)
        stop(new HoldfastError('too-large', `${command} printed more than ${maxOutputBytes} bytes`));
      else out.push(data);
      onOutput?.(data.toString());
    });
    child.stderr!.on('data', (data: Buffer) => {
      if (errorBytes < 65_536) errors.push(data);
      errorBytes += data.length;
    });
    // EPIPE: a program need not read its input; what matters is how it ends.
    child.stdin?.on('error', () => {}).end(input);
    const settle = (settled: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      settled();
    };
    child.once('error', (error) => {
      settle(() => reject(systemCode(error) === 'ENOENT' ? toolMissing(command, error) : error));
    });
    child.once('close', (status, killedBy) => {
      const stderr = Buffer.concat(errors).toString();
      settle(() => {
        if (stopped) return reject(stopped);
        if (status === 0) return resolve({ stdout: Buffer.concat(out).toString(), stderr });
        const how = killedBy === null ? `status ${status}` : `signal ${killedBy}`;
        reject(
          new HoldfastError(failure, `${command} ended with ${how}: ${stderr.trim()}`, {
            data: { status, killedBy, stderr },
          }),
        );
      });
    });
  });
}
