// A qemu-storage-daemon of ours with a monitor and an NBD server on unix sockets in one private directory. Two uses: the fleece of a running guest, which
// must be killable without touching the guest, and the disks of a guest that does not run.
import { type ChildProcess, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { QemuProgram } from '../../guests/qemu/qemu-program.ts';
import { connectWhenReady } from '../../guests/qmp/connect-when-ready.ts';
import type { QmpClient } from '../../guests/qmp/qmp-client.ts';
import { asAnyProgram, asUsual } from '../../util/child-priority.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { liveWithUs } from '../../util/live-with-us.ts';
import { toolMissing } from '../../util/run.ts';

const START_TIMEOUT_MS = 30_000;
const END_TIMEOUT_MS = 30_000;
const KILL_TIMEOUT_MS = 5_000;
const WORDS_BYTES = 8_192;

export interface StorageDaemonOptions {
  /** Names it in messages. */
  readonly label: string;
  /** Private; sockets `NAME.qmp` and `NAME.nbd` are made there. */
  readonly directory: string;
  readonly name: string;
  /** With our end it stores bitmaps and ends (TERM), or goes at once (KILL). */
  readonly atOurEnd: 'TERM' | 'KILL';
  /** A guest waits for it: it does not share the low priority of the backup that starts it, where that may be taken away. */
  readonly isUrgent?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export class StorageDaemon {
  readonly monitor: QmpClient;
  readonly nbdSocket: string;
  readonly #child: ChildProcess;
  readonly #paths: readonly string[];
  readonly #words: () => string;
  readonly #end: Promise<void>;
  #hasEnded = false;
  /** Once, whoever ends it: its sockets' names may be those of the next one by then. */
  #cleaning: Promise<void> | undefined;

  private constructor(
    child: ChildProcess,
    monitor: QmpClient,
    nbdSocket: string,
    paths: readonly string[],
    words: () => string,
  ) {
    this.#words = words;
    this.#child = child;
    this.monitor = monitor;
    this.nbdSocket = nbdSocket;
    this.#paths = paths;
    this.#end = new Promise((resolve) => {
      const end = (): void => {
        this.#hasEnded = true;
        resolve();
      };
      child.once('exit', end);
      if (child.exitCode !== null || child.signalCode !== null) end();
    });
  }

  /** Its NBD server listens, nothing is exported yet. @throws `tool-missing`, `guest-failed` with its own words, `timed-out`, `aborted`. */
  static async start(qemu: QemuProgram, options: StorageDaemonOptions): Promise<StorageDaemon> {
    const { label, directory, name, atOurEnd, isUrgent, signal } = options;
    const [monitorSocket, nbdSocket] = [join(directory, `${name}.qmp`), join(directory, `${name}.nbd`)];
    await Promise.all([monitorSocket, nbdSocket].map(async (path) => await rm(path, { force: true })));
    const chardev = `socket,id=monitor,path=${monitorSocket.replaceAll(',', ',,')},server=on,wait=off`;
    const command = [qemu.storageDaemon, '--chardev', chardev, '--monitor', 'chardev=monitor'];
    const [program, ...args] = liveWithUs('setpriv', command, atOurEnd);
    const child = spawn(program as string, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...qemu.environment, LC_ALL: 'C' },
    });
    if (isUrgent) asAnyProgram(child);
    else asUsual(child);
    let words = '';
    let failure: Error | undefined;
    child.stderr?.on('data', (data: Buffer) => {
      if (words.length < WORDS_BYTES) words += data.toString();
    });
    child.once('error', (error) => {
      failure = systemCode(error) === 'ENOENT' ? toolMissing('setpriv', error) : error;
    });
    try {
      const whyNot = async (): Promise<Error | undefined> => {
        if (failure !== undefined) return failure;
        if (child.exitCode === 127) return toolMissing(qemu.storageDaemon);
        if (child.exitCode === null && child.signalCode === null) return undefined;
        return new HoldfastError('guest-failed', `${label}: qemu-storage-daemon ended: ${words.trim()}`);
      };
      const ready = { label, timeoutMs: START_TIMEOUT_MS, signal, failure: whyNot };
      const monitor = await connectWhenReady(monitorSocket, ready);
      await monitor.execute('nbd-server-start', {
        addr: { type: 'unix', data: { path: nbdSocket } },
        'max-connections': 0,
      });
      return new StorageDaemon(child, monitor, nbdSocket, [monitorSocket, nbdSocket], () => words.trim());
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Ends it in order: what it has open is closed, bitmaps are stored. @throws `timed-out` after killing it. */
  async quit(): Promise<void> {
    await this.monitor.execute('quit', undefined, { timeoutMs: END_TIMEOUT_MS }).catch(() => undefined);
    if (await this.endsWithin(END_TIMEOUT_MS)) return await this.#cleanUp();
    await this.kill();
    throw new HoldfastError(
      'timed-out',
      'qemu-storage-daemon did not end and was killed; bitmaps of its disks are lost',
    );
  }

  /** Ends it at once. Returns whether it is gone: one that waits for a dead storage is not. */
  async kill(): Promise<boolean> {
    this.#child.kill('SIGKILL');
    const isGone = await this.endsWithin(KILL_TIMEOUT_MS);
    if (isGone) await this.#cleanUp();
    return isGone;
  }

  /** How it ended and what it said then, when it has ended within that time. */
  async lastWords(timeoutMs: number): Promise<string | undefined> {
    if (!(await this.endsWithin(timeoutMs))) return undefined;
    const { exitCode, signalCode } = this.#child;
    return `qemu-storage-daemon ended with ${signalCode ?? `code ${exitCode}`}: ${this.#words()}`;
  }

  /** At once when it has ended already. */
  async endsWithin(timeoutMs: number): Promise<boolean> {
    const waiting = new AbortController();
    await Promise.race([this.#end, sleep(timeoutMs, undefined, { signal: waiting.signal }).catch(() => undefined)]);
    waiting.abort();
    return this.#hasEnded;
  }

  #cleanUp(): Promise<void> {
    this.#cleaning ??= (async () => {
      this.monitor.close();
      for (const path of this.#paths) await rm(path, { force: true });
    })();
    return this.#cleaning;
  }
}

/** A daemon whose monitor breaks off while it starts, seen once in some hundred starts on a loaded machine, is started anew, once. `run` leaves nothing behind when it fails. */
export async function againWhenLost<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.data.isLost !== true) throw error;
    return await run();
  }
}
