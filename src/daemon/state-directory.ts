// Where a server keeps what is not in a datastore: users, tasks, its certificate. One process at a time, and nobody else may look inside.
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { HoldfastError, systemCode } from '../util/errors.ts';
import { type HeldLock, tryLock } from '../util/process-lock.ts';

/** What a server, or a client beside it, puts into the directory. Whatever else is there belongs to somebody who may need the modes as they are. */
const OURS =
  /^(agent|client|tasks|state-backup|first-password|restored-config\.json|lock\.db.*|state\.db.*|server\.(pid|crt|key).*)$/;

/** `/var/lib/holdfast` for root, else `holdfast` where the user's programs keep their state. */
export function defaultStateDirectory(): string {
  if (process.getuid?.() === 0) return '/var/lib/holdfast';
  return join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'holdfast');
}

export class StateDirectory {
  readonly path: string;
  readonly database: string;
  readonly taskLogs: string;
  /** Of the backups of the state itself. */
  readonly stateBackup: string;
  readonly certificate: string;
  readonly key: string;
  readonly #lock: HeldLock;

  private constructor(path: string, lock: HeldLock) {
    this.path = path;
    this.database = join(path, 'state.db');
    this.taskLogs = join(path, 'tasks');
    this.stateBackup = join(path, 'state-backup');
    this.certificate = join(path, 'server.crt');
    this.key = join(path, 'server.key');
    this.#lock = lock;
  }

  /**
   * Makes the directory when it is not there, and locks it until `close` or the end of the process.
   * @throws `bad-argument` when it cannot be made or is open to others, `datastore-locked` when another server has it.
   */
  static open(directory: string): StateDirectory {
    const path = resolve(directory);
    makePrivate(path);
    const holder = join(path, 'server.pid');
    const lock = tryLock(join(path, 'lock.db'));
    if (lock === undefined)
      throw new HoldfastError(
        'datastore-locked',
        `a holdfast server runs with the state directory ${path} already (${holderText(holder)}); stop it, or give this one another --state-dir`,
      );
    mkdirSync(join(path, 'state-backup'), { recursive: true, mode: 0o700 });
    writeFileSync(holder, `${process.pid}\n`, { mode: 0o600 });
    return new StateDirectory(path, lock);
  }

  close(): void {
    this.#lock.release();
  }
}

function makePrivate(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new HoldfastError(
      'bad-argument',
      `the state directory ${path} cannot be made (${systemCode(error) ?? (error as Error).message}); name another one with --state-dir`,
      { cause: error },
    );
  }
  const stat = lstatSync(path);
  if (stat.isDirectory() && stat.uid === process.getuid?.() && readdirSync(path).every((name) => OURS.test(name))) {
    // A client's commands may have made it, with the modes that are usual.
    chmodSync(path, 0o700);
    return;
  }
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0)
    throw new HoldfastError(
      'bad-argument',
      `the state directory ${path} holds secrets, so it must be a directory of this user alone: chown it, and chmod 700 ${path}`,
    );
}

/** The lock itself is what counts; who has it is only for the message. */
function holderText(path: string): string {
  try {
    return `process ${readFileSync(path, 'utf8').trim().slice(0, 20)}`;
  } catch {
    return 'another process';
  }
}
