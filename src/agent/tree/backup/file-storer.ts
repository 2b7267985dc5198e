// Reads one regular file into the thread's window, cuts it and stores its pieces; holes stay holes. A file that changes under the reading is read
// again, and in the end taken as it was read, which is said.
import { readSync } from 'node:fs';
import { constants } from 'node:os';
import type { Cutter } from '../../../chunker/cutter.ts';
import { FileType, fileType, inodeKey, nlinkOf, STAT_BYTES, sizeOf, withSize } from '../../../chunker/stat-block.ts';
import type { Area } from '../../../util/arena.ts';
import type { ByteString } from '../../../util/byte-string.ts';
import { systemCode } from '../../../util/errors.ts';
import type { ObjectSink } from '../../object-sink.ts';
import { ContentBuilder, type EntryContent, inlineBytes, NO_CONTENT } from '../content-builder.ts';
import { MAX_INLINE } from '../content-limits.ts';
import { type FileCalls, OPEN_TO_READ, type Scanned, STAT_OUT_BYTES } from '../file-calls.ts';
import { nextData } from '../next-data.ts';

/** The hash of a data object borrows 4 bytes before it. */
const HEADROOM_BYTES = 4096;
/** Bytes of one read: they are still in the cache when they are hashed. */
const READ_BYTES = 1024 * 1024;
/** Times that a file is read when it changes meanwhile; large ones once. */
const TRIES = 3;
const LARGE_BYTES = 64 * 1024 * 1024;
/** Files with several names that a thread remembers, some 500 bytes each; then the memory begins anew. */
const MAX_LINKED = 20_000;

/** A file as it was stored; `errno` not 0: it could not be read, and has no content. */
export interface StoredFile extends EntryContent {
  readonly errno: number;
  /** Of when the reading ended, with the size of what was read. */
  readonly stat: Uint8Array;
  /** It changed in each of the tries. */
  readonly hasChanged: boolean;
  readonly bytesRead: number;
}

/** What one reading gave. */
interface Reading extends EntryContent {
  readonly bytes: number;
}

export class FileStorer {
  readonly #calls: FileCalls;
  readonly #cutter: Cutter;
  readonly #window: Area;
  readonly #stat = Buffer.alloc(STAT_OUT_BYTES);
  /** Files with several names that this thread has read, by device and inode. */
  readonly #linked = new Map<string, StoredFile>();

  /** `window` is an area of the cutter's memory of at least `windowBytes` for the largest piece. */
  constructor(calls: FileCalls, cutter: Cutter, window: Area) {
    this.#calls = calls;
    this.#cutter = cutter;
    this.#window = window;
  }

  static windowBytes(maxPieceBytes: number): number {
    return HEADROOM_BYTES + READ_BYTES + maxPieceBytes;
  }

  /** Stores the file of that name; only a large one takes longer than the call. One of several names is read under the first. */
  store(directory: number, file: Scanned, sink: ObjectSink): StoredFile | Promise<StoredFile> {
    if (nlinkOf(file.stat) < 2) return this.#store(directory, file, sink);
    const key = `${file.device} ${inodeKey(file.stat)}`;
    const known = this.#linked.get(key);
    if (known !== undefined && file.stat.equals(known.stat)) return { ...known, bytesRead: 0 };
    const stored = this.#store(directory, file, sink);
    if (stored instanceof Promise) return stored.then((late) => this.#remember(key, late));
    return this.#remember(key, stored);
  }

  #remember(key: string, stored: StoredFile): StoredFile {
    if (this.#linked.size >= MAX_LINKED) this.#linked.clear();
    if (stored.errno === 0 && !stored.hasChanged) this.#linked.set(key, stored);
    return stored;
  }

  #store(directory: number, file: Scanned, sink: ObjectSink): StoredFile | Promise<StoredFile> {
    const size = sizeOf(file.stat);
    if (size === 0) return storedFile(NO_CONTENT, 0, file.stat, false, 0);
    if (size < READ_BYTES && !file.isSparse) return this.#storeSmall(directory, file, sink);
    return this.#storeLarge(directory, file, sink);
  }

  #storeSmall(directory: number, file: Scanned, sink: ObjectSink): StoredFile | Promise<StoredFile> {
    let expected: Uint8Array = file.stat;
    let bytesRead = 0;
    for (let attempt = 1; ; attempt++) {
      // One byte more than there should be: a file that grew is seen.
      const room = this.#window.bytes.subarray(HEADROOM_BYTES, HEADROOM_BYTES + READ_BYTES);
      const got = this.#calls.readFile(directory, file.name, room.subarray(0, sizeOf(expected) + 1), this.#stat);
      if (got < 0) return unreadable(-got, expected, bytesRead);
      bytesRead += got;
      const after = Buffer.from(this.#stat.subarray(0, STAT_BYTES));
      if (fileType(after) !== FileType.file) return unreadable(constants.errno.ENOENT, expected, bytesRead);
      const isSame = after.equals(expected) && got === sizeOf(expected);
      if (isSame || attempt === TRIES) {
        const stat = isSame ? after : withSize(after, got);
        return storedFile(this.#cutWindow(got, sink), 0, stat, !isSame, bytesRead);
      }
      expected = after;
      if (sizeOf(after) >= READ_BYTES) return this.#storeLarge(directory, { ...file, stat: after }, sink);
    }
  }

  /** The content of a file whose bytes are in the window. */
  #cutWindow(length: number, sink: ObjectSink): EntryContent {
    if (length === 0) return NO_CONTENT;
    if (length <= MAX_INLINE) return inlineBytes(this.#window.bytes.subarray(HEADROOM_BYTES, HEADROOM_BYTES + length));
    const pieces = new ContentBuilder(() => Promise.reject(new Error('a small file has few pieces')));
    for (let done = 0; done < length; ) {
      const at = this.#window.pointer + HEADROOM_BYTES + done;
      const piece = this.#cutter.nextStream(at, length - done, true);
      pieces.addSmall(piece, sink.putData(at, piece));
      done += piece;
    }
    return pieces.finishPieces();
  }

  async #storeLarge(directory: number, file: Scanned, sink: ObjectSink): Promise<StoredFile> {
    let expected: Uint8Array = file.stat;
    let bytesRead = 0;
    for (let attempt = 1; ; attempt++) {
      const fd = this.#calls.open(directory, file.name, OPEN_TO_READ, 0);
      if (fd < 0) return unreadable(-fd, expected, bytesRead);
      try {
        const reading = await this.#readLarge(fd, expected, file.isSparse, sink);
        if (typeof reading === 'number') return unreadable(reading, expected, bytesRead);
        bytesRead += reading.bytes;
        this.#calls.stat(fd, '' as ByteString, this.#stat);
        const after = Buffer.from(this.#stat.subarray(0, STAT_BYTES));
        if (fileType(after) !== FileType.file) return unreadable(constants.errno.ENOENT, expected, bytesRead);
        const isSame = after.equals(expected) && reading.bytes === sizeOf(expected);
        if (isSame || attempt === TRIES || sizeOf(after) > LARGE_BYTES) {
          const stat = isSame ? after : withSize(after, reading.bytes);
          return storedFile(reading, 0, stat, !isSame, bytesRead);
        }
        expected = after;
      } finally {
        this.#calls.close(fd);
      }
    }
  }

  /** Reads data and holes up to the file's size as it was expected; the errno when that fails. `bytes` counts holes too. */
  async #readLarge(fd: number, stat: Uint8Array, isSparse: boolean, sink: ObjectSink): Promise<Reading | number> {
    const pieces = new ContentBuilder((kind, refs, payload) =>
      Promise.resolve(Buffer.from(sink.put(kind, refs, payload)) as ReturnType<ObjectSink['put']>),
    );
    const size = sizeOf(stat);
    let at = 0;
    while (at < size) {
      const [dataStart, dataEnd] = isSparse ? nextData(this.#calls, fd, at, size) : [at, size];
      if (dataStart > at) await pieces.addHole(dataStart - at);
      const read = dataStart < dataEnd ? await this.#readData(fd, dataStart, dataEnd, pieces, sink) : 0;
      if (read < 0) return -read;
      at = dataStart + read;
      // It shrank: what there was is taken, and the stat block behind the reading tells.
      if (at < dataEnd) break;
    }
    return { ...(await pieces.finish()), bytes: at };
  }

  /** Cuts the bytes between two offsets on their own; returns how many there were, or -errno. */
  async #readData(fd: number, from: number, to: number, pieces: ContentBuilder, sink: ObjectSink): Promise<number> {
    const { bytes, pointer } = this.#window;
    let start = HEADROOM_BYTES;
    let held = 0;
    let at = from;
    let isEnd = false;
    for (;;) {
      const isFinal = isEnd || at === to;
      const piece = held === 0 ? 0 : this.#cutter.nextStream(pointer + start, held, isFinal);
      if (piece > 0) {
        const pending = pieces.addData(piece, sink.putData(pointer + start, piece));
        if (pending !== undefined) await pending;
        start += piece;
        held -= piece;
        continue;
      }
      if (isFinal) return at - from;
      bytes.copyWithin(HEADROOM_BYTES, start, start + held);
      start = HEADROOM_BYTES;
      try {
        const got = readSync(fd, bytes, start + held, Math.min(READ_BYTES, to - at), at);
        held += got;
        at += got;
        isEnd = got === 0;
      } catch (error) {
        return -errnoOf(error);
      }
    }
  }
}

function unreadable(errno: number, stat: Uint8Array, bytesRead: number): StoredFile {
  return storedFile(NO_CONTENT, errno, stat, false, bytesRead);
}

/** Written out: spreading an object costs more than a small file's hash. */
function storedFile(
  { content, contentBytes, refs }: EntryContent,
  errno: number,
  stat: Uint8Array,
  hasChanged: boolean,
  bytesRead: number,
): StoredFile {
  return { content, contentBytes, refs, errno, stat, hasChanged, bytesRead };
}

/** The errno of a system error; one that Node has no number for counts as EIO. */
function errnoOf(error: unknown): number {
  const code = systemCode(error);
  if (code === undefined) throw error;
  return (constants.errno as Record<string, number>)[code] ?? constants.errno.EIO;
}
