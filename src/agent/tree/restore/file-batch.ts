// Restores the contents of many small files with one pass over their pieces, which lie close together in packs. The files follow each other in
// one range of bytes; each is written by one call when its bytes come in one run, else in parts under a name that nobody else has.
import { ftruncateSync } from 'node:fs';
import type { DirectoryEntry } from '../../../chunker/directory.ts';
import { sizeOf } from '../../../chunker/stat-block.ts';
import { type ByteString, below, display } from '../../../util/byte-string.ts';
import { writeFully } from '../../../util/direct-io.ts';
import { HoldfastError } from '../../../util/errors.ts';
import type { ObjectFetcher } from '../../object-sink.ts';
import type { LostRange, PieceRestorer, RestorePiece } from '../../restore/piece-restorer.ts';
import { type RangeTarget, targetError } from '../../restore/target.ts';
import { directPieces } from '../file-content.ts';
import type { EntryMaker, Outcome, Place } from './restore-entry.ts';

interface BatchFile {
  readonly at: Place;
  readonly entry: DirectoryEntry;
  readonly start: number;
  readonly end: number;
  readonly settled: (outcome: Outcome) => void;
}

export class FileBatch implements RangeTarget {
  readonly #maker: EntryMaker;
  readonly #files: BatchFile[] = [];
  readonly #pieces: RestorePiece[] = [];
  #lost: LostRange[] = [];
  #bytes = 0;
  /** The file that the next bytes belong to. */
  #next = 0;
  #partial: { fd: number; name: ByteString } | undefined;

  constructor(maker: EntryMaker) {
    this.#maker = maker;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A file whose content is pieces that its entry names. */
  add(at: Place, entry: DirectoryEntry, settled: (outcome: Outcome) => void = () => {}): void {
    const start = this.#bytes;
    this.#bytes += sizeOf(entry.stat);
    this.#files.push({ at, entry, start, end: this.#bytes, settled });
    for (const piece of directPieces(entry) as RestorePiece[]) this.#pieces.push(piece);
  }

  /** Restores what was added. @throws `object-missing`, `object-damaged` that name the file, unless the rules take zeros. */
  flush(restorer: PieceRestorer, fetcher: ObjectFetcher): void {
    try {
      restorer.run(this.#pieces, 0, fetcher, this, this.#lost);
    } finally {
      if (this.#partial !== undefined) this.#discard();
      this.#files.length = this.#pieces.length = 0;
      this.#lost = [];
      this.#bytes = this.#next = 0;
    }
  }

  write(offset: number, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      const file = this.#files[this.#next] as BatchFile;
      const part = data.subarray(done, Math.min(data.length, file.end - offset));
      const position = offset + done - file.start;
      if (position === 0 && part.length === file.end - file.start) this.#writeWhole(file, part);
      else this.#writePart(file, position, part);
      done += part.length;
    }
  }

  hole(offset: number, length: number): void {
    for (let done = 0; done < length; ) {
      const file = this.#files[this.#next] as BatchFile;
      const part = Math.min(length - done, file.end - offset - done);
      this.#partial ??= this.#maker.openPartial(file.at, file.entry);
      done += part;
      if (offset + done === file.end) this.#endParts(file);
    }
  }

  close(): void {
    // Files are closed one by one.
  }

  #writeWhole(file: BatchFile, data: Uint8Array): void {
    this.#noteLost(file);
    this.#next++;
    file.settled(this.#maker.file(file.at, file.entry, data));
  }

  #writePart(file: BatchFile, position: number, data: Uint8Array): void {
    this.#partial ??= this.#maker.openPartial(file.at, file.entry);
    try {
      writeFully(this.#partial.fd, data, position);
    } catch (error) {
      throw targetError(display(below(file.at.path, file.entry.name)), error);
    }
    if (file.start + position + data.length === file.end) this.#endParts(file);
  }

  #endParts(file: BatchFile): void {
    const partial = this.#partial as { fd: number; name: ByteString };
    this.#noteLost(file);
    this.#setSize(file, partial.fd);
    const outcome = this.#maker.finishPartial(file.at, file.entry, partial);
    this.#maker.calls.close(partial.fd);
    this.#partial = undefined;
    this.#next++;
    file.settled(outcome);
  }

  /** A hole at the end has nothing written behind it. */
  #setSize(file: BatchFile, fd: number): void {
    try {
      ftruncateSync(fd, file.end - file.start);
    } catch (error) {
      throw targetError(display(below(file.at.path, file.entry.name)), error);
    }
  }

  /** Everything lost of the file is known once its last bytes are here. */
  #noteLost(file: BatchFile): void {
    const path = below(file.at.path, file.entry.name);
    for (const { offset, length } of this.#lost) {
      if (offset >= file.end || offset + length <= file.start) continue;
      const start = Math.max(offset, file.start) - file.start;
      const lost = { path, offset: start, length: Math.min(offset + length, file.end) - file.start - start };
      if (!this.#maker.rules.zeroLost) throw lostContent(lost.path, lost.offset, lost.length);
      this.#maker.notes.add('lost', lost);
    }
  }

  #discard(): void {
    const { fd, name } = this.#partial as { fd: number; name: ByteString };
    const file = this.#files[this.#next] as BatchFile;
    this.#partial = undefined;
    this.#maker.calls.close(fd);
    this.#maker.calls.remove(file.at.fd, name, false);
  }
}

/** What ends a restore that does not take zeros. */
export function lostContent(path: ByteString, offset: number, length: number): HoldfastError {
  return new HoldfastError(
    'object-damaged',
    `${display(path)}: ${length} bytes at ${offset} are lost; take another snapshot, or --damaged zero to restore the rest`,
    { data: { path: display(path), offset, length } },
  );
}
