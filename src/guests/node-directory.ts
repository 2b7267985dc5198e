// Where a node keeps its guests. What outlives a boot of the host stands below `path`; sockets and pids stand in a run directory, which the host
// forgets when it boots.
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { GuestId } from '../schema/guest-names.ts';
import { HoldfastError, systemCode } from '../util/errors.ts';

/** sun_path holds 108 bytes with the final zero; `/999999999/control.qmp` and the like take 30 at most. */
const MAX_RUN_PATH_BYTES = 76;

/** `/var/lib/holdfast-node` for root, else `holdfast-node` where the user's programs keep their state. */
export function defaultNodeDirectory(): string {
  if (process.getuid?.() === 0) return '/var/lib/holdfast-node';
  return join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'holdfast-node');
}

export class NodeDirectory {
  readonly path: string;
  /** Sockets and pids of all guests. */
  readonly runPath: string;

  constructor(path: string) {
    this.path = resolve(path);
    this.runPath = runPathOf(this.path);
  }

  /** Tells this node's control groups and sockets from those of another node on the host. */
  get name(): string {
    return basename(this.runPath);
  }

  /** What is ours alone of a guest: its lock, its bitmaps' records, sidecars, the journal of a backup. */
  guestPath(id: GuestId): string {
    return join(this.path, 'guests', String(id));
  }

  firewallFile(id: GuestId): string {
    return join(this.path, 'firewall', `${id}.fw`);
  }

  /** The guest's run directory. */
  run(id: GuestId): RunDirectory {
    return new RunDirectory(join(this.runPath, String(id)));
  }

  /** Makes the guest's two directories, private to the user. @throws `write-failed`. */
  async prepare(id: GuestId): Promise<void> {
    for (const path of [this.guestPath(id), this.run(id).path])
      try {
        await mkdir(path, { recursive: true, mode: 0o700 });
      } catch (cause) {
        const why = (cause as Error).message;
        const what = `VM ${id}: its directory cannot be made: ${why}; check that this node's directory may be written to`;
        throw new HoldfastError('write-failed', what, { cause, data: { path, systemCode: systemCode(cause) } });
      }
  }
}

/** Names in a guest's run directory. */
export class RunDirectory {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Monitor for operations, held for as long as one takes. */
  get controlMonitor(): string {
    return join(this.path, 'control.qmp');
  }

  /** Monitor for the backup, which may take hours. */
  get backupMonitor(): string {
    return join(this.path, 'backup.qmp');
  }

  /** Monitor of the watch. */
  get eventMonitor(): string {
    return join(this.path, 'events.qmp');
  }

  get guestAgent(): string {
    return join(this.path, 'agent.sock');
  }

  /** Control socket of the guest's TPM. */
  get tpmSocket(): string {
    return join(this.path, 'tpm.sock');
  }

  get tpmPidFile(): string {
    return join(this.path, 'tpm.pid');
  }

  serial(index: number): string {
    return join(this.path, `serial${index}.sock`);
  }

  /** NBD exports of a backup. */
  get exports(): string {
    return join(this.path, 'exports.nbd');
  }

  /** There while somebody has the guest's file systems frozen: who finds it with nobody at work knows that they died in between. */
  get frozenMarker(): string {
    return join(this.path, 'frozen');
  }

  /** The same of its processors, paused by one of us and not by an administrator. */
  get pausedMarker(): string {
    return join(this.path, 'paused');
  }

  /** Written by QEMU itself, and locked while it lives. */
  get pidFile(): string {
    return join(this.path, 'qemu.pid');
  }

  /** What QEMU prints on stderr, of the last start. */
  get errorLog(): string {
    return join(this.path, 'qemu.log');
  }
}

/** The default node of root has `/run/holdfast`; another one a directory named after where it is, so that two nodes never share sockets. */
function runPathOf(path: string): string {
  const base =
    process.getuid?.() === 0 ? '/run' : (process.env.XDG_RUNTIME_DIR ?? `/tmp/holdfast-${process.getuid?.()}`);
  const isDefault = process.getuid?.() === 0 && path === '/var/lib/holdfast-node';
  const run = join(
    base,
    isDefault ? 'holdfast' : `holdfast-${createHash('sha256').update(path).digest('hex').slice(0, 10)}`,
  );
  if (Buffer.byteLength(run) > MAX_RUN_PATH_BYTES)
    throw new HoldfastError(
      'bad-argument',
      `${run} is too long for the sockets of guests; set XDG_RUNTIME_DIR to a shorter directory`,
    );
  return run;
}
