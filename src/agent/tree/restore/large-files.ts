// A file that is restored range by range, by all threads at once, under a name that nobody else has; it gets its own name when it is whole.
import { ftruncateSync } from 'node:fs';
import type { DirectoryEntry } from '../../../chunker/directory.ts';
import { sizeOf } from '../../../chunker/stat-block.ts';
import { type ByteString, below, display } from '../../../util/byte-string.ts';
import { writeFully } from '../../../util/direct-io.ts';
import { HoldfastError } from '../../../util/errors.ts';
import { isLostObject, type LostRange, type RestorePiece } from '../../restore/piece-restorer.ts';
import { type RangeTarget, targetError } from '../../restore/target.ts';
import { filePieces } from '../file-content.ts';
import type { GetObject } from '../read-tree.ts';
import { lostContent } from './file-batch.ts';
import type { EntryMaker, Outcome, Place } from './restore-entry.ts';

/** A range ends behind either. */
const RANGE_BYTES = 16 * 1024 * 1024;
const RANGE_PIECES = 1024;

/** A part of a file for a worker: descriptors belong to the process, so every thread may write to it. */
export interface FileRangeWork {
  readonly space: number;
  readonly fd: number;
  readonly path: ByteString;
  readonly offset: number;
  readonly pieces: readonly RestorePiece[];
}

export class LargeFile {
  readonly path: ByteString;
  /** Ranges under way. */
  pending = 0;
  isListed = false;
  /** Bytes of data that were written. */
  bytes = 0;
  readonly #maker: EntryMaker;
  readonly #at: Place;
  readonly #entry: DirectoryEntry;
  readonly #pieces: AsyncGenerator<RestorePiece>;
  readonly #partial: { fd: number; name: ByteString };
  #offset = 0;

  /** Makes it, with its size. @throws `target-failed`. */
  constructor(maker: EntryMaker, at: Place, entry: DirectoryEntry, get: GetObject) {
    this.#maker = maker;
    this.#at = at;
    this.#entry = entry;
    this.path = below(at.path, entry.name);
    this.#pieces = filePieces(get, entry);
    this.#partial = maker.openPartial(at, entry);
    try {
      ftruncateSync(this.#partial.fd, sizeOf(entry.stat));
    } catch (error) {
      this.discard();
      throw targetError(display(this.path), error);
    }
  }

  /** The next range with data; undefined at the end. One call at a time. @throws `object-missing`, `object-damaged`. */
  async next(): Promise<Omit<FileRangeWork, 'space'> | undefined> {
    const pieces: RestorePiece[] = [];
    const start = this.#offset;
    let data = 0;
    while (data < RANGE_BYTES && pieces.length < RANGE_PIECES) {
      const piece = await this.#piece();
      if (piece === undefined) {
        this.isListed = true;
        break;
      }
      pieces.push(piece);
      if (piece.id !== undefined) data += piece.length;
    }
    return pieces.length === 0 ? undefined : { fd: this.#partial.fd, path: this.path, offset: start, pieces };
  }

  /** Takes what a range lost. @throws `object-damaged` unless the rules take zeros. */
  noteLost(lost: readonly LostRange[]): void {
    for (const { offset, length } of lost) {
      if (!this.#maker.rules.zeroLost) throw lostContent(this.path, offset, length);
      this.#maker.notes.add('lost', { path: this.path, offset, length });
    }
  }

  finish(): Outcome {
    const outcome = this.#maker.finishPartial(this.#at, this.#entry, this.#partial);
    this.#maker.calls.close(this.#partial.fd);
    return outcome;
  }

  discard(): void {
    this.#maker.calls.close(this.#partial.fd);
    this.#maker.calls.remove(this.#at.fd, this.#partial.name, false);
  }

  async #piece(): Promise<RestorePiece | undefined> {
    const sizeBytes = sizeOf(this.#entry.stat);
    try {
      const { value, done } = await this.#pieces.next();
      if (done === true) return undefined;
      if (this.#offset + value.length > sizeBytes)
        throw new HoldfastError('object-damaged', 'its pieces are longer than the file');
      this.#offset += value.length;
      return value;
    } catch (error) {
      if (!isLostObject(error)) throw error;
      // Behind a list that is lost nobody knows which pieces there were.
      this.noteLost([{ offset: this.#offset, length: sizeBytes - this.#offset }]);
      this.#offset = sizeBytes;
      return undefined;
    }
  }
}

/** A worker's end of such a file. */
export class FileRangeTarget implements RangeTarget {
  readonly #fd: number;
  readonly #path: ByteString;

  constructor({ fd, path }: FileRangeWork) {
    this.#fd = fd;
    this.#path = path;
  }

  write(offset: number, data: Uint8Array): void {
    try {
      writeFully(this.#fd, data, offset);
    } catch (error) {
      throw targetError(display(this.#path), error);
    }
  }

  hole(): void {
    // A new file reads as zeros where nothing was written.
  }

  close(): void {
    // The main thread closes it.
  }
}
