// A disk that records every write and flush in order, with a mounted ext4 on it:
// ext4 on a loop device on a file of nbdfuse on a qemu-storage-daemon with blklogwrites -> data.raw and log.raw.
import { existsSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MarkTarget, writeMark } from './mark.ts';
import { command, isRunning, reasonToSkip, Scratch, unmount, waitUntil } from './scratch.ts';

const MIB = 1 << 20;
/** The end of the disk, behind the file system. */
const MARK_AREA_BYTES = MIB;

export const skipPowerCut = (): string | false =>
  reasonToSkip('qemu-storage-daemon', 'nbdfuse', 'fusermount3', 'mkfs.ext4', 'losetup', 'mount');

/** A finished recording; the files live as long as the rig is not disposed. */
export interface Recording {
  /** The disk before the first write, and after the last one. */
  readonly base: string;
  readonly data: string;
  readonly log: string;
  readonly markOffset: number;
  /** The last mark that was acknowledged before the recording started. */
  readonly firstMark: number;
}

export interface RigOptions {
  /** Of the file system; all files are sparse. */
  sizeBytes: number;
  /** Room that the log has from the start; it takes every byte written and 512 more per write, and grows by itself. */
  logBytes?: number;
  /** Where the scratch directory goes; default /dev/shm or the temporary directory, wherever there is room. */
  parent?: string;
}

export class PowerCutRig {
  /** The mounted file system. */
  readonly mountPath: string;
  readonly markTarget: MarkTarget;
  readonly #scratch: Scratch;
  readonly #firstMark: number;
  readonly #storageDaemon: number;
  readonly #nbdFuse: number;
  #recording = true;

  /** An empty ext4 of `sizeBytes`. */
  static create(options: RigOptions): PowerCutRig {
    const logBytes = options.logBytes ?? 0;
    return PowerCutRig.#start(options.parent, options.sizeBytes, logBytes, 0, (data) => {
      writeFileSync(data, '');
      truncateSync(data, options.sizeBytes + MARK_AREA_BYTES);
      // Tables written now, not by a kernel thread into the log. No reserved blocks, so that sizes mean what they say.
      const features = ['-m', '0', '-E', 'lazy_itable_init=0,lazy_journal_init=0'];
      command('mkfs.ext4', ['-q', '-F', '-b', '4096', ...features, data, String(Math.floor(options.sizeBytes / 4096))]);
    });
  }

  /**
   * Records what happens on a disk that lost its power: mounting it already replays the journal into the log. `image` is
   * only read; `firstMark` is the last mark acknowledged before that cut.
   */
  static fromImage(
    image: string,
    options: { firstMark?: number; logBytes?: number; parent?: string } = {},
  ): PowerCutRig {
    const sizeBytes = statSync(image).size - MARK_AREA_BYTES;
    const logBytes = options.logBytes ?? 0;
    return PowerCutRig.#start(options.parent, sizeBytes, logBytes, options.firstMark ?? 0, (data) =>
      copySparse(image, data),
    );
  }

  static #start(
    parent: string | undefined,
    sizeBytes: number,
    logBytes: number,
    firstMark: number,
    fill: (data: string) => void,
  ): PowerCutRig {
    const scratch = Scratch.create(Math.max(3 * sizeBytes, logBytes), parent);
    try {
      return new PowerCutRig(scratch, sizeBytes, logBytes, firstMark, fill);
    } catch (error) {
      scratch.dispose();
      throw error;
    }
  }

  private constructor(
    scratch: Scratch,
    sizeBytes: number,
    logBytes: number,
    firstMark: number,
    fill: (data: string) => void,
  ) {
    this.#scratch = scratch;
    this.#firstMark = firstMark;
    this.mountPath = this.#path('mnt');
    mkdirSync(this.mountPath);
    fill(this.#path('data.raw'));
    copySparse(this.#path('data.raw'), this.#path('base.raw'));
    writeFileSync(this.#path('log.raw'), '');
    truncateSync(this.#path('log.raw'), logBytes);
    this.#storageDaemon = this.#startStorageDaemon();
    this.#nbdFuse = this.#startNbdFuse();
    const device = command('losetup', ['--direct-io=on', '-f', '--show', this.#path('nb/disk')]).trim();
    this.markTarget = { device, offset: sizeBytes };
    // auto_da_alloc hides a missing fsync before a rename over an old file, which other file systems do not.
    command('mount', ['-t', 'ext4', '-o', 'noauto_da_alloc', device, this.mountPath]);
  }

  /** Puts a number into the log, after everything that was durable until now. In a child: `writeMark` with `markTarget`. */
  mark(n: number): void {
    writeMark(this.markTarget.device, this.markTarget.offset, n);
  }

  /** Unmounts and ends the recording. Everybody must have closed their files, else it throws and names the holders. */
  finish(): Recording {
    if (this.#recording) {
      unmount(this.mountPath);
      command('losetup', ['-d', this.markTarget.device]);
      const backing = `/sys/block/${this.markTarget.device.slice(5)}/loop/backing_file`;
      waitUntil(`${this.markTarget.device} detached`, () => !existsSync(backing));
      command('fusermount3', ['-u', this.#path('nb')]);
      waitUntil('end of nbdfuse', () => !isRunning(this.#nbdFuse));
      // The super block of the log counts all entries only after a clean end.
      process.kill(this.#storageDaemon, 'SIGTERM');
      waitUntil('end of qemu-storage-daemon', () => !isRunning(this.#storageDaemon), 60_000);
      this.#recording = false;
    }
    return {
      base: this.#path('base.raw'),
      data: this.#path('data.raw'),
      log: this.#path('log.raw'),
      markOffset: this.markTarget.offset,
      firstMark: this.#firstMark,
    };
  }

  /** Takes everything down and removes all files, whatever state they are in. */
  dispose(): void {
    this.#scratch.dispose();
  }

  #path(name: string): string {
    return join(this.#scratch.path, name);
  }

  #startStorageDaemon(): number {
    const nodes = [
      `driver=file,node-name=df,filename=${this.#path('data.raw')},discard=unmap`,
      'driver=raw,node-name=d,file=df,discard=unmap',
      `driver=file,node-name=lf,filename=${this.#path('log.raw')}`,
      'driver=raw,node-name=l,file=lf',
      'driver=blklogwrites,node-name=blw,file=d,log=l,log-sector-size=512,log-append=off',
    ];
    command('qemu-storage-daemon', [
      ...nodes.flatMap((node) => ['--blockdev', node]),
      ...['--nbd-server', `addr.type=unix,addr.path=${this.#path('n.sock')}`],
      ...['--export', 'type=nbd,id=n,node-name=blw,name=d,writable=on'],
      ...['--daemonize', '--pidfile', this.#path('qsd.pid')],
    ]);
    return Number(readFileSync(this.#path('qsd.pid'), 'latin1'));
  }

  #startNbdFuse(): number {
    mkdirSync(this.#path('nb'));
    // Through a shell, so that it is nobody's child here: a process that waits synchronously cannot collect its children.
    const script =
      'exec 2>"$1/nbdfuse.err" >/dev/null; nbdfuse -P "$1/nbdfuse.pid" "$1/nb/disk" "nbd+unix:///d?socket=$1/n.sock" &';
    command('sh', ['-c', script, 'sh', this.#scratch.path]);
    const pidFile = this.#path('nbdfuse.pid');
    try {
      waitUntil('nbdfuse started', () => existsSync(pidFile) && statSync(pidFile).size > 0);
    } catch (error) {
      throw new Error(`nbdfuse did not start: ${readFileSync(this.#path('nbdfuse.err'), 'utf8')}`, { cause: error });
    }
    return Number(readFileSync(pidFile, 'latin1'));
  }
}

/** A copy without the zeros. */
function copySparse(from: string, to: string): void {
  command('cp', ['--sparse=always', from, to]);
}
