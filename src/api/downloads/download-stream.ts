// A download as the main thread sees it: asks the worker thread for the next part when the caller has taken the last one, and moves it on. A caller who
// takes nothing stops the work, and one who takes nothing for long is cut off; one who is gone ends it.
import { Readable } from 'node:stream';
import type { DownloadPart } from '../../agent/download/download.ts';
import { PART_BYTES } from '../../agent/download/outlet.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Threads } from '../../util/worker-pool.ts';

export interface DownloadSource {
  readonly pool: Pick<Threads, 'call'>;
  readonly thread: number;
  readonly download: number;
  /** As it was announced; undefined where it was not. */
  readonly sizeBytes: number | undefined;
  /** A caller who does not take a part within this time is cut off. */
  readonly idleMs: number;
  /** Once, at the end, however it ends. */
  readonly onEnd: () => void;
}

export class DownloadStream extends Readable {
  readonly #source: DownloadSource;
  #first: DownloadPart | undefined;
  #isAsking = false;
  #sentBytes = 0;
  #idle: NodeJS.Timeout | undefined;

  private constructor(source: DownloadSource, first: DownloadPart) {
    // One part waits for the caller while the next is made.
    super({ highWaterMark: 2 * PART_BYTES });
    this.#source = source;
    this.#first = first;
    this.#wait();
  }

  /** With the first bytes at hand, so that what fails at once is told as an answer. @throws what the download throws; it is ended then. */
  static async begin(source: DownloadSource): Promise<DownloadStream> {
    try {
      return new DownloadStream(source, await nextBytes(source));
    } catch (error) {
      end(source);
      throw error;
    }
  }

  override _read(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    clearTimeout(this.#idle);
    this.#ask().catch((error: unknown) => this.destroy(error as Error));
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#idle);
    end(this.#source);
    done(error);
  }

  async #ask(): Promise<void> {
    const part = this.#first ?? (await nextBytes(this.#source));
    this.#first = undefined;
    if (this.destroyed) return;
    // After the last nothing is asked for; before it `push` itself may ask for more.
    this.#isAsking = part.isLast;
    const { buffer, byteOffset, length } = part.bytes;
    this.#count(length, part.isLast);
    if (length > 0) this.push(Buffer.from(buffer as ArrayBuffer, byteOffset, length));
    if (part.isLast) this.push(null);
    // Unless `push` has asked for more.
    if (part.isLast || !this.#isAsking) this.#wait();
  }

  /** What follows an answer of too many bytes would be taken for the next answer; one of too few is waited for. Sizes come from whoever made the backup. */
  #count(bytes: number, isLast: boolean): void {
    const { sizeBytes } = this.#source;
    this.#sentBytes += bytes;
    if (sizeBytes === undefined || (isLast ? this.#sentBytes === sizeBytes : this.#sentBytes <= sizeBytes)) return;
    throw new HoldfastError('object-damaged', `a file has not the ${sizeBytes} bytes that its entry says`);
  }

  #wait(): void {
    clearTimeout(this.#idle);
    if (this.destroyed) return;
    const { idleMs } = this.#source;
    // The last parts are made at once, and have the time of each.
    const waitMs = idleMs * Math.max(1, Math.ceil(this.readableLength / PART_BYTES));
    this.#idle = setTimeout(() => {
      const message = `the caller of a download took nothing for ${Math.round(waitMs / 1000)} s; the connection was closed`;
      this.destroy(new HoldfastError('timed-out', message));
    }, waitMs);
  }
}

/** A part with bytes in it, or the last one. */
async function nextBytes({ pool, thread, download }: DownloadSource): Promise<DownloadPart> {
  for (;;) {
    const part = await pool.call<DownloadPart>(thread, 'download.next', download);
    if (part.bytes.length > 0 || part.isLast) return part;
  }
}

function end({ pool, thread, download, onEnd }: DownloadSource): void {
  // Of a pool that is closed nothing is left to end.
  pool.call(thread, 'download.close', download).catch(() => undefined);
  onEnd();
}
