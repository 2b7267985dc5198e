// The fleece: where the old bytes of blocks go that a guest overwrites while it is backed up. Its images are served by a storage daemon of its own, because a
// storage that hangs below QEMU itself freezes guest and monitor at the next drain; this daemon can be killed, which breaks the backup and leaves the guest alone.
// What it takes is bounded: past the limit it is killed too.
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { QemuProgram } from '../../guests/qemu/qemu-program.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import type { NbdExport } from './frozen-disk.ts';
import { againWhenLost, StorageDaemon } from './storage-daemon.ts';

const LOOK_MS = 500;
/** The kernel closes a process's sockets before it tells the parent of the end. */
const END_NEWS_MS = 1_000;
/** Of its sockets. */
const NAME = 'fleece';

export interface FleeceImage {
  readonly key: string;
  /** A sparse raw file of exactly the disk's size. */
  readonly path: string;
}

export interface FleeceRoom {
  readonly images: readonly FleeceImage[];
  /** Bytes on the storage for all images together. */
  readonly limitBytes: number;
}

export interface FleeceOptions {
  readonly label: string;
  /** Private; for its sockets. */
  readonly directory: string;
  /** Its images may be made while the daemon starts. */
  readonly room: Promise<FleeceRoom>;
  readonly signal?: AbortSignal | undefined;
}

export class Fleece {
  readonly #daemon: StorageDaemon;
  readonly #label: string;
  readonly #room: FleeceRoom;
  readonly #timer: NodeJS.Timeout;
  #isLooking = false;
  #broken: HoldfastError | undefined;

  private constructor(daemon: StorageDaemon, label: string, room: FleeceRoom) {
    this.#daemon = daemon;
    this.#label = label;
    this.#room = room;
    this.#timer = setInterval(() => {
      // What fails of it is seen at the next look.
      this.#look().catch(() => undefined);
    }, LOOK_MS);
    this.#timer.unref();
  }

  /** Exports each image under its key. @throws what making the images, starting the daemon and opening them there throws. */
  static async start(qemu: QemuProgram, options: FleeceOptions): Promise<Fleece> {
    return await againWhenLost(async () => await Fleece.#start(qemu, options));
  }

  static async #start(qemu: QemuProgram, options: FleeceOptions): Promise<Fleece> {
    const { label, directory, signal } = options;
    const daemon = await StorageDaemon.start(qemu, {
      label: `${label}, fleece`,
      directory,
      name: NAME,
      atOurEnd: 'KILL',
      isUrgent: true,
      signal,
    });
    try {
      const room = await options.room;
      for (const { key, path } of room.images) {
        const node = `img-${key}`;
        const file = { driver: 'file', filename: path, discard: 'unmap' };
        await daemon.monitor.execute('blockdev-add', { driver: 'raw', 'node-name': node, discard: 'unmap', file });
        const share = { type: 'nbd', id: node, 'node-name': node, name: key, writable: true };
        await daemon.monitor.execute('block-export-add', share);
      }
      return new Fleece(daemon, label, room);
    } catch (error) {
      const isLost = error instanceof HoldfastError && error.data.isLost === true;
      const end = isLost ? await daemon.lastWords(END_NEWS_MS) : undefined;
      await daemon.kill();
      if (end === undefined) throw error;
      throw new HoldfastError('guest-failed', `${label}, fleece: ${end}`, { cause: error, data: { isLost } });
    }
  }

  /** Where QEMU finds the image of a disk. */
  node(key: string, nodeName: string): Readonly<Record<string, unknown>> {
    const server = { type: 'unix', path: this.#daemon.nbdSocket };
    return { driver: 'nbd', 'node-name': nodeName, server, export: key, discard: 'unmap' };
  }

  /** Where we do. */
  export(key: string): NbdExport {
    return { socketPath: this.#daemon.nbdSocket, exportName: key };
  }

  /** Why the backup cannot be had any more; undefined while it can. Waits for the news of an end that a read has met already. */
  async whyBroken(): Promise<HoldfastError | undefined> {
    if (this.#broken !== undefined || !(await this.#daemon.endsWithin(END_NEWS_MS))) return this.#broken;
    return new HoldfastError(
      'source-failed',
      `${this.#label}: the fleece's storage daemon has ended; run the backup again`,
    );
  }

  /**
   * Kills the daemon: from then on nothing waits for the fleece's storage, and the guest's filter breaks without harm. Returns whether it is gone; when it is not,
   * its storage hangs, and the filter must be left alone until it does not.
   */
  async end(): Promise<boolean> {
    clearInterval(this.#timer);
    return await this.#daemon.kill();
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#broken !== undefined) return;
    this.#isLooking = true;
    try {
      this.#broken = await this.#excess();
      if (this.#broken !== undefined) await this.#daemon.kill();
    } finally {
      this.#isLooking = false;
    }
  }

  /** Why it is to end: it takes too much, or nobody can tell how much. */
  async #excess(): Promise<HoldfastError | undefined> {
    const { images, limitBytes } = this.#room;
    const label = this.#label;
    let usedBytes = 0;
    try {
      for (const { path } of images) usedBytes += (await stat(path)).blocks * 512;
    } catch (cause) {
      const text = `${label}: what the fleece takes cannot be looked at: ${(cause as Error).message}`;
      return new HoldfastError('source-failed', text, { cause });
    }
    if (usedBytes <= limitBytes) return undefined;
    const text = `${label}: the guest overwrote ${usedBytes} bytes during the backup, more than the ${limitBytes} that its fleece may take; give it more with --fleecing-limit, or another storage`;
    return new HoldfastError('disk-full', text, { data: { usedBytes, limitBytes } });
  }
}

/** Whether a fleece's daemon is still there: one that was killed while its storage hangs goes only when that answers. */
export async function isServed(directory: string): Promise<boolean> {
  const socket = connect(join(directory, `${NAME}.nbd`));
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    if (['ENOENT', 'ECONNREFUSED'].includes(systemCode(error) ?? '')) return false;
    throw error;
  } finally {
    socket.destroy();
  }
}
