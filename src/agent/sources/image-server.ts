// A QEMU process that exports one image, read-only, over NBD on a unix socket in a private directory. It does not outlive us.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asUsual } from '../../util/child-priority.ts';
import { HoldfastError } from '../../util/errors.ts';
import { liveWithUs } from '../../util/live-with-us.ts';
import { toolMissing } from '../../util/run.ts';

export const EXPORT_NAME = 'disk';
const MAX_CONNECTIONS = 64;
const START_TIMEOUT_MS = 30_000;
const POLL_MS = 10;
/** sun_path holds 108 bytes; `/hf-XXXXXX/nbd` and the final zero take 15. */
const MAX_DIRECTORY_BYTES = 90;
const ERROR_BYTES = 16_384;

export interface ImageServerOptions {
  /** Absolute; a relative one could be taken for a protocol. */
  path: string;
  /** QEMU's block driver; the format is never probed. */
  driver: string;
  isBlockDevice: boolean;
  signal?: AbortSignal | undefined;
  /** Where programs are looked for; default $PATH and the system's directories. */
  searchPath?: string;
}

export interface ImageServer {
  readonly socketPath: string;
  /** Program that serves the image. */
  readonly tool: string;
  readonly pid: number;
  close(): Promise<void>;
}

/** Throws `tool-missing`, `source-failed` with QEMU's own words, `timed-out` or `aborted`. */
export async function startImageServer(options: ImageServerOptions): Promise<ImageServer> {
  const { path, signal } = options;
  const { tool, command } = chooseCommand(options);
  const base = Buffer.byteLength(tmpdir()) <= MAX_DIRECTORY_BYTES ? tmpdir() : '/tmp';
  const directory = await mkdtemp(join(base, 'hf-'));
  const socketPath = join(directory, 'nbd');
  const [program, ...args] = command(socketPath);
  const env = { ...process.env, LC_ALL: 'C' };
  const child = asUsual(spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env }));
  const daemon = watch(child);
  const close = async () => {
    child.kill('SIGKILL');
    await daemon.ended;
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await waitForFile(pidFile(socketPath), daemon, path, signal);
  } catch (error) {
    await close();
    throw error;
  }
  return { socketPath, tool, pid: child.pid!, close };
}

interface Daemon {
  readonly ended: Promise<void>;
  hasEnded: boolean;
  /** What it printed on stderr, or why it could not be started. */
  words: string;
}

function watch(child: ChildProcess): Daemon {
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      daemon.words ||= error.message;
      resolve();
    });
    child.once('close', () => resolve());
  }).then(() => {
    daemon.hasEnded = true;
  });
  const daemon: Daemon = { ended, hasEnded: false, words: '' };
  child.stderr!.on('data', (data: Buffer) => {
    if (daemon.words.length < ERROR_BYTES) daemon.words += data.toString();
  });
  return daemon;
}

/** Both programs write their pid file once the export is there; the socket exists earlier. */
async function waitForFile(
  path: string,
  daemon: Daemon,
  label: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!existsSync(path)) {
    if (signal?.aborted) throw new HoldfastError('aborted', `${label}: aborted`, { cause: signal.reason });
    if (daemon.hasEnded) throw cannotOpen(label, daemon.words);
    if (performance.now() > deadline) {
      throw new HoldfastError(
        'timed-out',
        `QEMU did not open ${label} within ${START_TIMEOUT_MS / 1000} s; check the storage below it`,
      );
    }
    await sleep(POLL_MS);
  }
}

/** The error for an image that QEMU does not open, with its own words. */
export function cannotOpen(label: string, words: string): HoldfastError {
  const locked = /Failed to (get|lock)|another process using/i.test(words);
  const advice = locked ? '; a running guest uses it: shut the guest down, or back it up through its QEMU' : '';
  const text = words.trim().replace(/\s*\n\s*/g, ' ');
  return new HoldfastError('source-failed', `QEMU cannot open ${label}: ${text}${advice}`, {
    data: { path: label, locked },
  });
}

function pidFile(socketPath: string): string {
  return `${socketPath}.pid`;
}

interface Choice {
  tool: string;
  command: (socketPath: string) => string[];
}

function chooseCommand(options: ImageServerOptions): Choice {
  const searchPath =
    options.searchPath ??
    `${process.env.PATH ?? ''}${delimiter}/usr/sbin${delimiter}/usr/bin${delimiter}/sbin${delimiter}/bin`;
  const setpriv = findTool('setpriv', searchPath);
  if (!setpriv) throw toolMissing('setpriv');
  const wrap = (command: string[]) => liveWithUs(setpriv, command);
  const daemon = findTool('qemu-storage-daemon', searchPath);
  if (daemon)
    return { tool: 'qemu-storage-daemon', command: (socketPath) => wrap([daemon, ...daemonArgs(options, socketPath)]) };
  const nbd = findTool('qemu-nbd', searchPath);
  if (nbd) return { tool: 'qemu-nbd', command: (socketPath) => wrap([nbd, ...nbdArgs(options, socketPath)]) };
  throw toolMissing('qemu-storage-daemon');
}

function daemonArgs({ path, driver, isBlockDevice }: ImageServerOptions, socketPath: string): string[] {
  const file = { driver: isBlockDevice ? 'host_device' : 'file', filename: path, 'read-only': true };
  const node = { driver, 'node-name': 'disk', 'read-only': true, file };
  const server = { addr: { type: 'unix', path: socketPath }, 'max-connections': MAX_CONNECTIONS };
  const share = { type: 'nbd', id: 'export', 'node-name': 'disk', name: EXPORT_NAME };
  const parts = ['--blockdev', node, '--nbd-server', server, '--export', share];
  return [
    ...parts.map((part) => (typeof part === 'string' ? part : JSON.stringify(part))),
    '--pidfile',
    pidFile(socketPath),
  ];
}

function nbdArgs({ path, driver }: ImageServerOptions, socketPath: string): string[] {
  const share = ['-k', socketPath, '-x', EXPORT_NAME, `--pid-file=${pidFile(socketPath)}`];
  return ['-r', '-t', '-e', String(MAX_CONNECTIONS), '-f', driver, ...share, '--', path];
}

function findTool(name: string, searchPath: string): string | undefined {
  for (const directory of searchPath.split(delimiter)) {
    if (directory === '') continue;
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not there: the next directory.
    }
  }
  return undefined;
}
