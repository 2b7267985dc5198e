// Writes one pack: records are encoded straight into the write buffer, full buffers go to the file, a barrier makes what was
// appended durable. Any failed write or sync condemns the pack, and nothing is tried again (rule D2).
import { randomBytes } from 'node:crypto';
import { constants, fdatasyncSync, fsyncSync, openSync, renameSync } from 'node:fs';
import { closeQuietly, openDirect, writeFully } from '../../util/direct-io.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import type { Layout } from '../layout.ts';
import {
  BLOCK_BYTES,
  encodeCheckpoint,
  encodeFooter,
  encodePackHeader,
  FRAME_HEADER_BYTES,
  FrameCodec,
  FrameType,
  PACK_HEADER_BYTES,
  PACK_MAX_RECORDS,
  PACK_TARGET_BYTES,
  type PackHeader,
  padBytes,
  TABLE_ENTRY_BYTES,
  writeTableEntry,
} from './pack-format.ts';
import { PackState, type PackTable } from './pack-table.ts';
import type { WriteBuffer } from './write-buffers.ts';

export interface PackOrigin {
  readonly kind: number;
  readonly sessionId: Buffer;
  readonly epoch: number;
  readonly storeId: Buffer;
}

export class PackWriter {
  /** Number of the pack in the pack table. */
  readonly pack: number;
  readonly #layout: Layout;
  readonly #table: PackTable;
  readonly #buffer: WriteBuffer;
  readonly #header: PackHeader;
  readonly #frames: FrameCodec;
  readonly #frameHeader = Buffer.alloc(FRAME_HEADER_BYTES);
  readonly #fd: number;
  #bufferOffset = 0;
  #used = 0;
  #entries = Buffer.allocUnsafe(256 * TABLE_ENTRY_BYTES);
  #count = 0;
  #checkpointed = 0;
  #lastCheckpoint = 0;
  #directorySynced = false;
  #failed: unknown;
  #closed = false;

  /** Creates `packs/ID.open`. Nothing is written before the first full buffer or barrier. */
  constructor(layout: Layout, table: PackTable, origin: PackOrigin, buffer: WriteBuffer) {
    this.#layout = layout;
    this.#table = table;
    this.#buffer = buffer;
    this.#header = { ...origin, packId: randomBytes(16), salt: randomBytes(32), createdMs: Date.now() };
    this.#frames = new FrameCodec(this.#header.salt);
    try {
      this.#fd = openDirect(
        layout.openPack(this.#header.packId),
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
      );
    } catch (error) {
      throw writeError(error, this.#header.packId, 'create');
    }
    this.pack = table.add(this.#header.packId, origin.kind, PackState.open);
    buffer.bytes.set(encodePackHeader(this.#header));
    this.#used = PACK_HEADER_BYTES;
  }

  /** File offset behind the last appended byte. */
  get end(): number {
    return this.#bufferOffset + this.#used;
  }

  /** Whether the next record belongs into a new pack. */
  get isFull(): boolean {
    return this.end >= PACK_TARGET_BYTES || this.#count >= PACK_MAX_RECORDS;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Whether everything appended is durable already. */
  get isDurable(): boolean {
    return this.#failed === undefined && this.#table.isDurable(this.pack, this.end);
  }

  get buffer(): WriteBuffer {
    return this.#buffer;
  }

  /**
   * Appends one record. `encode` writes it at the start of the `boundBytes` it is given and returns its length.
   * Returns the file offset of the record. The entry may be published at once: it is volatile until a barrier.
   */
  append(
    space: number,
    id: Uint8Array,
    kind: number,
    boundBytes: number,
    encode: (target: Uint8Array) => number,
  ): { offset: number; length: number } {
    this.#assertUsable();
    const inPlace = FRAME_HEADER_BYTES + boundBytes <= this.#buffer.bytes.length - this.#used;
    const frame = inPlace
      ? this.#buffer.bytes.subarray(this.#used, this.#used + FRAME_HEADER_BYTES + boundBytes)
      : Buffer.allocUnsafe(FRAME_HEADER_BYTES + boundBytes);
    const length = encode(frame.subarray(FRAME_HEADER_BYTES));
    const offset = this.end + FRAME_HEADER_BYTES;
    this.#frames.writeHeader(frame, this.end, FrameType.record, length, space);
    this.#addEntry(space, id, kind, offset, length);
    if (inPlace) {
      this.#used += FRAME_HEADER_BYTES + length;
      if (this.#used >= this.#buffer.fullBytes) this.#writeFullBlocks();
    } else {
      this.#appendBytes(frame.subarray(0, FRAME_HEADER_BYTES + length));
    }
    return { offset, length };
  }

  /** Appends a finished record: copied once, in pieces when the buffer ends before it. Returns the file offset of the record. */
  appendRecord(space: number, id: Uint8Array, kind: number, record: Uint8Array): number {
    this.#assertUsable();
    const offset = this.end + FRAME_HEADER_BYTES;
    this.#frames.writeRecordHeader(this.#frameHeader, this.end, record, space);
    this.#addEntry(space, id, kind, offset, record.length);
    this.#appendBytes(this.#frameHeader);
    this.#appendBytes(record);
    return offset;
  }

  /** Hands everything appended to the kernel, so that other threads can read it; says nothing of durability. */
  flush(): void {
    if (this.#table.writtenEnd(this.pack) < this.end) this.#writeCheckpoint();
  }

  /** Makes everything appended so far durable (rule D1). */
  barrier(): void {
    this.#assertUsable();
    if (this.isDurable) return;
    this.#writeCheckpoint();
    this.#sync();
  }

  /** Ends the pack: footer, sync, rename. Everything in it is durable afterwards. */
  seal(): void {
    this.#assertUsable();
    this.#appendBytes(
      encodeFooter(this.#frames, this.#header, this.end, this.#entries.subarray(0, this.#count * TABLE_ENTRY_BYTES)),
    );
    this.#writeBlocks(this.#used);
    this.#sync();
    try {
      renameSync(this.#layout.openPack(this.#header.packId), this.#layout.sealedPack(this.#header.packId));
    } catch (error) {
      throw this.#condemn(error, 'rename');
    }
    this.#table.setState(this.pack, PackState.sealed);
    this.close();
  }

  /** Gives up a pack that is not sealed: nobody will sync it any more, so what is not durable by now is withdrawn (rule D2). */
  abandon(): void {
    if (this.#table.state(this.pack) === PackState.open) this.#condemn(new Error('its session gave up'), 'seal');
    this.close();
  }

  /** Gives up the descriptor; the file stays as it is. May be called again: the number may be another file's by then. */
  close(): void {
    if (!this.#closed) closeQuietly(this.#fd);
    this.#closed = true;
  }

  #addEntry(space: number, id: Uint8Array, kind: number, offset: number, length: number): void {
    if ((this.#count + 1) * TABLE_ENTRY_BYTES > this.#entries.length) {
      this.#entries = Buffer.concat([this.#entries, Buffer.allocUnsafe(this.#entries.length)]);
    }
    writeTableEntry(this.#entries, this.#count++ * TABLE_ENTRY_BYTES, {
      id: id as Buffer,
      space,
      offset,
      length,
      kind,
      depth: 0,
    });
  }

  #appendBytes(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const part = Math.min(bytes.length - done, this.#buffer.fullBytes - this.#used);
      this.#buffer.bytes.set(bytes.subarray(done, done + part), this.#used);
      this.#used += part;
      done += part;
      if (this.#used >= this.#buffer.fullBytes) this.#writeFullBlocks();
    }
  }

  #writeCheckpoint(): void {
    this.#assertUsable();
    const pad = padBytes(this.end);
    if (pad > 0) {
      const frame = Buffer.alloc(pad);
      this.#frames.writeHeader(frame, this.end, FrameType.pad, pad - FRAME_HEADER_BYTES, 0);
      this.#appendBytes(frame);
    }
    const at = this.end;
    const fresh = this.#entries.subarray(this.#checkpointed * TABLE_ENTRY_BYTES, this.#count * TABLE_ENTRY_BYTES);
    this.#appendBytes(encodeCheckpoint(this.#frames, this.#header.salt, at, this.#lastCheckpoint, fresh));
    this.#lastCheckpoint = at;
    this.#checkpointed = this.#count;
    this.#writeBlocks(this.#used);
  }

  #writeFullBlocks(): void {
    this.#writeBlocks(Math.floor(this.#used / BLOCK_BYTES) * BLOCK_BYTES);
  }

  /** Writes the first `length` bytes of the buffer, a multiple of the block size, and keeps the rest. */
  #writeBlocks(length: number): void {
    if (length === 0) return;
    try {
      writeFully(this.#fd, this.#buffer.bytes.subarray(0, length), this.#bufferOffset);
    } catch (error) {
      throw this.#condemn(error, 'write');
    }
    this.#buffer.bytes.copyWithin(0, length, this.#used);
    this.#bufferOffset += length;
    this.#used -= length;
    this.#table.markWritten(this.pack, this.#bufferOffset);
  }

  /** Everything appended has been written when this is called. */
  #sync(): void {
    try {
      fdatasyncSync(this.#fd);
      if (!this.#directorySynced) syncDirectory(this.#layout.packs);
    } catch (error) {
      throw this.#condemn(error, 'sync');
    }
    this.#directorySynced = true;
    this.#table.markDurable(this.pack, this.#bufferOffset);
    this.#table.markDirectoryDurable(this.pack);
  }

  #condemn(error: unknown, step: string): HoldfastError {
    const failure = writeError(error, this.#header.packId, step);
    this.#failed = failure;
    this.#table.setState(this.pack, PackState.condemned);
    this.close();
    return failure;
  }

  #assertUsable(): void {
    if (this.#failed !== undefined) {
      throw new HoldfastError(
        'pack-condemned',
        `pack ${this.#header.packId.toString('hex')} failed before; nothing more is written to it`,
        {
          cause: this.#failed,
        },
      );
    }
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeQuietly(fd);
  }
}

function writeError(cause: unknown, packId: Buffer, step: string): HoldfastError {
  const full = ['ENOSPC', 'EDQUOT'].includes(systemCode(cause) ?? '');
  const what = `cannot ${step} pack ${packId.toString('hex')}: ${(cause as Error).message}`;
  return full
    ? new HoldfastError(
        'disk-full',
        `the datastore's file system is full (${what}); free space and run the backup again, it continues where it stopped`,
        { cause },
      )
    : new HoldfastError(
        'write-failed',
        `${what}; check the disk, then run the backup again, it continues where it stopped`,
        { cause },
      );
}
