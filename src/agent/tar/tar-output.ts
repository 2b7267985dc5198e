// Where an exported archive goes: a file or standard output, with zstd as a sequence of frames of 4 MiB. Waits for the reader of a pipe.
import { constants } from 'node:fs';
import { type FileHandle, open, stat, unlink } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { Compressor, compressBound } from '../../chunker/zstd.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { targetError } from '../restore/target.ts';

const FRAME_BYTES = 4 * 1024 * 1024;
const LEVEL = 3;

export interface TarOutputOptions {
  /** A path, or `-` for `stdout`. */
  readonly target: string;
  readonly overwrite: boolean;
  readonly zstd: boolean;
  readonly stdout: Writable;
  readonly signal: AbortSignal;
}

/** Bytes to where they go. */
interface Sink {
  write(bytes: Uint8Array): Promise<void>;
  finish(): Promise<void>;
  discard(): Promise<void>;
}

export class TarOutput {
  readonly #sink: Sink;
  readonly #compressor: Compressor | undefined;
  #frame: Uint8Array[] = [];
  #frameBytes = 0;

  private constructor(sink: Sink, zstd: boolean) {
    this.#sink = sink;
    this.#compressor = zstd ? new Compressor(LEVEL, true) : undefined;
  }

  /** @throws `target-unfit` when the file is there and not empty, `target-failed`. */
  static async open(options: TarOutputOptions): Promise<TarOutput> {
    const sink = options.target === '-' ? pipeSink(options) : await fileSink(options);
    return new TarOutput(sink, options.zstd);
  }

  /** Takes the bytes over. @throws `target-failed`. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#compressor === undefined) return await this.#sink.write(bytes);
    this.#frame.push(bytes);
    this.#frameBytes += bytes.length;
    if (this.#frameBytes >= FRAME_BYTES) await this.#endFrame();
  }

  /** Everything is where it belongs, a file on its disk. @throws `target-failed`. */
  async finish(): Promise<void> {
    if (this.#frameBytes > 0) await this.#endFrame();
    await this.#sink.finish();
  }

  /** Takes away a file that this made. */
  async discard(): Promise<void> {
    await this.#sink.discard();
  }

  async #endFrame(): Promise<void> {
    const plain = Buffer.concat(this.#frame, this.#frameBytes);
    this.#frame = [];
    this.#frameBytes = 0;
    const frame = Buffer.allocUnsafeSlow(compressBound(plain.length));
    await this.#sink.write(frame.subarray(0, (this.#compressor as Compressor).compress(frame, plain)));
  }
}

async function fileSink({ target, overwrite, signal }: TarOutputOptions): Promise<Sink> {
  const before = await stat(target).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw targetError(target, error);
  });
  if (before?.isFile() === true && before.size > 0 && !overwrite)
    throw new HoldfastError(
      'target-unfit',
      `${target} exists and is not empty (${before.size} bytes); name another file, or give --overwrite to replace it`,
    );
  if (before?.isDirectory() === true)
    throw new HoldfastError('target-unfit', `${target} is a directory; give the archive a name in it`);
  let file: FileHandle;
  try {
    const isNew = before === undefined ? constants.O_CREAT | constants.O_EXCL : constants.O_TRUNC;
    file = await open(target, constants.O_WRONLY | isNew, 0o640);
  } catch (error) {
    throw targetError(target, error);
  }
  return {
    write: async (bytes) => {
      signal.throwIfAborted();
      await file.writeFile(bytes).catch((error: unknown) => {
        throw targetError(target, error);
      });
    },
    finish: async () => {
      try {
        // A FIFO or a tape has nothing to sync.
        if (before === undefined || before.isFile()) await file.datasync();
      } catch (error) {
        throw targetError(target, error);
      } finally {
        await file.close();
      }
    },
    discard: async () => {
      await file.close();
      if (before === undefined) await unlink(target).catch(() => undefined);
    },
  };
}

/** A reader that waits for something else must not keep a restore from being stopped. */
function pipeSink({ stdout, signal }: TarOutputOptions): Sink {
  let failure: Error | undefined;
  const onError = (error: Error): void => {
    failure ??= targetError('standard output', error);
  };
  stdout.on('error', onError);
  const close = async (): Promise<void> => void stdout.off('error', onError);
  return {
    write: async (bytes) => {
      signal.throwIfAborted();
      if (failure !== undefined) throw failure;
      await new Promise<void>((resolve, reject) => {
        const stop = (): void => reject(signal.reason as Error);
        signal.addEventListener('abort', stop, { once: true });
        stdout.write(bytes, (error) => {
          signal.removeEventListener('abort', stop);
          if (error) reject(targetError('standard output', error));
          else resolve();
        });
      });
    },
    finish: close,
    discard: close,
  };
}
