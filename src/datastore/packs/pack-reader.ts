// Reads records of packs by place. One per thread; keeps a bounded number of files open and follows a pack from `.open` to
// `.pack` to `condemned/`. Metadata is read through the page cache, bulk data past it.
import { constants, openSync } from 'node:fs';
import { closeQuietly, DIRECT_ALIGNMENT, openDirect, readFully } from '../../util/direct-io.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import type { Layout } from '../layout.ts';
import { PackState, type PackTable } from './pack-table.ts';

const MAX_OPEN_FILES = 64;

/** What the kernel says of a bad medium or file system. Everything else (EMFILE, EACCES, ENOMEM) says nothing about the record. */
const MEDIUM_ERRORS = ['EIO', 'ENODATA', 'EILSEQ', 'EBADMSG', 'EUCLEAN', 'EREMOTEIO'];

/** Whether a system error says that the medium or its file system is bad. */
export function isMediumError(error: unknown): boolean {
  return MEDIUM_ERRORS.includes(systemCode(error) ?? '');
}

export class PackReader {
  readonly #layout: Layout;
  readonly #table: PackTable;
  readonly #buffered = new Map<number, number>();
  readonly #direct = new Map<number, number>();

  constructor(layout: Layout, table: PackTable) {
    this.#layout = layout;
    this.#table = table;
  }

  /** The bytes of one record. @throws `object-damaged` when the pack ends before. */
  read(pack: number, offset: number, length: number): Buffer {
    const target = Buffer.allocUnsafe(length);
    const got = this.#attempt(pack, () => readFully(this.#file(this.#buffered, pack, false), target, offset));
    if (got < length) throw this.#truncated(pack, offset + length);
    return target;
  }

  /**
   * Reads a range past the page cache into `target`, memory of an arena. Returns where in `target` the range begins:
   * `target` needs room for the range and two blocks more.
   */
  readRange(pack: number, offset: number, length: number, target: Uint8Array): number {
    const start = Math.floor(offset / DIRECT_ALIGNMENT) * DIRECT_ALIGNMENT;
    const end = Math.ceil((offset + length) / DIRECT_ALIGNMENT) * DIRECT_ALIGNMENT;
    const got = this.#attempt(pack, () =>
      readFully(this.#file(this.#direct, pack, true), target.subarray(0, end - start), start),
    );
    if (start + got < offset + length) throw this.#truncated(pack, offset + length);
    return offset - start;
  }

  /** Closes the files of dropped packs, so that their space is free once they are deleted. */
  closeDropped(): void {
    for (const files of [this.#buffered, this.#direct]) {
      for (const [pack, fd] of files) {
        if (this.#table.state(pack) !== PackState.dropped) continue;
        files.delete(pack);
        closeQuietly(fd);
      }
    }
  }

  close(): void {
    for (const files of [this.#buffered, this.#direct]) {
      for (const fd of files.values()) closeQuietly(fd);
      files.clear();
    }
  }

  #file(files: Map<number, number>, pack: number, direct: boolean): number {
    const known = files.get(pack);
    if (known !== undefined) {
      // Least recently used first.
      files.delete(pack);
      files.set(pack, known);
      return known;
    }
    const fd = this.#open(pack, direct);
    files.set(pack, fd);
    if (files.size > MAX_OPEN_FILES) {
      const [oldest, oldestFd] = files.entries().next().value as [number, number];
      files.delete(oldest);
      closeQuietly(oldestFd);
    }
    return fd;
  }

  #open(pack: number, direct: boolean): number {
    const packId = this.#table.packId(pack);
    const paths = [this.#layout.sealedPack(packId), this.#layout.openPack(packId), this.#layout.condemnedPack(packId)];
    // Twice, because a pack may be renamed between two looks.
    for (const path of [...paths, ...paths]) {
      try {
        return direct ? openDirect(path, constants.O_RDONLY) : openSync(path, constants.O_RDONLY);
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error;
      }
    }
    throw new HoldfastError(
      'object-missing',
      `pack ${packId.toString('hex')} is gone from packs/; restore it there from a copy, or run a repair`,
      {
        data: { pack: packId.toString('hex') },
      },
    );
  }

  #attempt(pack: number, read: () => number): number {
    try {
      return read();
    } catch (cause) {
      if (!isMediumError(cause)) throw cause;
      const packId = this.#table.packId(pack).toString('hex');
      throw new HoldfastError(
        'object-damaged',
        `cannot read pack ${packId}: ${(cause as Error).message}; check the disk`,
        { cause },
      );
    }
  }

  #truncated(pack: number, end: number): HoldfastError {
    const packId = this.#table.packId(pack).toString('hex');
    return new HoldfastError('object-damaged', `pack ${packId} ends before byte ${end}: it was truncated`, {
      data: { pack: packId },
    });
  }
}
