// The log of QEMU's blklogwrites (the format of dm-log-writes): a super block, then for every write, flush or discard one
// header sector and the data. Only the headers are read into memory; data is copied from file to file when asked for.
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { MARK_BYTES, markIn } from './mark.ts';

const MAGIC = 0x6a736677736872n;
const FLUSH = 1;
const FUA = 2;
const DISCARD = 4;
const BUFFER_BYTES = 1 << 20;

export interface LogEntry {
  /** On the disk; nothing but a flush when `lengthBytes` is 0. */
  readonly offset: number;
  readonly lengthBytes: number;
  readonly flush: boolean;
  /** Durable when it returned, without a flush. */
  readonly fua: boolean;
  readonly discard: boolean;
  /** Where the data stands in the log. */
  readonly dataAt: number;
  /** The number of a mark, which is no part of the disk's state. */
  readonly mark: number | undefined;
}

export class WriteLog {
  readonly entries: readonly LogEntry[];
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES);

  /** `markOffset`: writes from there on are marks. */
  constructor(path: string, markOffset: number) {
    this.#fd = openSync(path, 'r');
    try {
      this.entries = this.#scan(markOffset);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Does to the disk image what the entry did to the disk, or only to `part` of its blocks. */
  apply(entry: LogEntry, image: number, part = { start: 0, end: entry.lengthBytes }): void {
    for (let done = part.start; done < part.end; ) {
      const wanted = Math.min(BUFFER_BYTES, part.end - done);
      if (entry.discard) this.#buffer.fill(0, 0, wanted);
      else this.#read(entry.dataAt + done, wanted);
      for (let put = 0; put < wanted; )
        put += writeSync(image, this.#buffer, put, wanted - put, entry.offset + done + put);
      done += wanted;
    }
  }

  #scan(markOffset: number): LogEntry[] {
    const header = this.#read(0, 28);
    if (header.readBigUInt64LE(0) !== MAGIC) throw new Error('no blklogwrites log: wrong magic');
    const count = Number(header.readBigUInt64LE(16));
    const sectorBytes = header.readUInt32LE(24);
    const entries: LogEntry[] = [];
    for (let position = sectorBytes; entries.length < count; ) {
      const entry = this.#entryAt(position, sectorBytes, markOffset);
      entries.push(entry);
      position = entry.dataAt + (entry.discard ? 0 : entry.lengthBytes);
    }
    return entries;
  }

  #entryAt(position: number, sectorBytes: number, markOffset: number): LogEntry {
    const header = this.#read(position, 32);
    const flags = Number(header.readBigUInt64LE(16));
    const offset = Number(header.readBigUInt64LE(0)) * sectorBytes;
    const lengthBytes = Number(header.readBigUInt64LE(8)) * sectorBytes;
    const dataAt = position + sectorBytes;
    const discard = (flags & DISCARD) !== 0;
    const marks = offset >= markOffset && lengthBytes === MARK_BYTES && !discard;
    return {
      offset,
      lengthBytes,
      flush: (flags & FLUSH) !== 0,
      fua: (flags & FUA) !== 0,
      discard,
      dataAt,
      mark: marks ? markIn(this.#read(dataAt, 64)) : undefined,
    };
  }

  #read(position: number, lengthBytes: number): Buffer {
    for (let done = 0; done < lengthBytes; ) {
      const got = readSync(this.#fd, this.#buffer, done, lengthBytes - done, position + done);
      if (got === 0) throw new Error(`the log ends at ${position + done}`);
      done += got;
    }
    return this.#buffer;
  }
}
