// The bytes of one file of a tree, in order, to standard output or another stream. A small file comes through this thread alone; a large
// one through the pool, one range of some MiB for each thread at a time.
import type { Writable } from 'node:stream';
import type { DirectoryEntry } from '../../../chunker/directory.ts';
import type { ObjectId } from '../../../chunker/object.ts';
import { sizeOf } from '../../../chunker/stat-block.ts';
import { HoldfastError } from '../../../util/errors.ts';
import type { Threads } from '../../../util/worker-pool.ts';
import { inOrder } from '../../in-order.ts';
import type { RestorePiece } from '../../restore/piece-restorer.ts';
import type { RestoredRange, RestoreWork } from '../../restore/restore-work.ts';
import { targetError } from '../../restore/target.ts';
import { filePieces, inlineContent } from '../file-content.ts';
import type { GetObject } from '../read-tree.ts';

/** Files up to here are not worth the start of threads. */
export const SMALL_FILE_BYTES = 4 * 1024 * 1024;
/** Bytes that a thread restores at once; a single larger piece is one range. */
const RANGE_BYTES = 4 * 1024 * 1024;

export interface CatRequest {
  readonly entry: DirectoryEntry;
  readonly space: number;
  readonly output: Writable;
  readonly signal: AbortSignal;
}

/**
 * Writes the content of a regular file. Every byte was checked against its object's id. `pool` starts threads, for a large file only.
 * @throws `object-missing`, `object-damaged`, `target-failed`; after some bytes may have been written.
 */
export async function catFile(request: CatRequest, get: GetObject, pool: () => Promise<Threads>): Promise<void> {
  const { output } = request;
  // Each write says its own failure.
  const ignore = (): void => {};
  output.on('error', ignore);
  try {
    await writeContent(request, get, pool);
  } finally {
    output.off('error', ignore);
  }
}

async function writeContent(request: CatRequest, get: GetObject, pool: () => Promise<Threads>): Promise<void> {
  const { entry, space, signal } = request;
  const inline = inlineContent(entry);
  if (inline !== undefined) return await writeBytes(request, inline);
  if (sizeOf(entry.stat) <= SMALL_FILE_BYTES) {
    for await (const range of rangesOf(get, entry))
      for (const piece of range.pieces) await writeBytes(request, await bytesOf(get, piece));
    return;
  }
  const threads = await pool();
  await inOrder(
    threads.size,
    rangesOf(get, entry),
    async ({ offset, length, pieces }, thread) => {
      signal.throwIfAborted();
      const work: RestoreWork = { space, target: undefined, zeroLost: false, page: undefined, offset, length, pieces };
      return await threads.call<RestoredRange>(thread, 'restore.range', work);
    },
    async (_, restored) => await writeBytes(request, new Uint8Array(restored.bytes as ArrayBufferLike)),
  );
}

interface FileRange {
  readonly offset: number;
  readonly length: number;
  readonly pieces: readonly RestorePiece[];
}

/** Pieces in ranges; holes, which may be of any length, in parts. */
async function* rangesOf(get: GetObject, entry: DirectoryEntry): AsyncGenerator<FileRange> {
  let offset = 0;
  let length = 0;
  let pieces: RestorePiece[] = [];
  for await (const whole of filePieces(get, entry)) {
    for (const piece of whole.id === undefined ? holeParts(whole.length) : [whole]) {
      if (length > 0 && length + piece.length > RANGE_BYTES) {
        yield { offset, length, pieces };
        offset += length;
        length = 0;
        pieces = [];
      }
      pieces.push(piece);
      length += piece.length;
    }
  }
  if (length > 0) yield { offset, length, pieces };
}

function* holeParts(length: number): Generator<RestorePiece> {
  for (let done = 0; done < length; done += RANGE_BYTES)
    yield { length: Math.min(RANGE_BYTES, length - done), id: undefined };
}

async function bytesOf(get: GetObject, { id, length }: RestorePiece): Promise<Uint8Array> {
  if (id === undefined) return new Uint8Array(length);
  const { payload } = await get(Buffer.from(id) as ObjectId);
  if (payload.length === length) return payload;
  throw new HoldfastError('object-damaged', `an object has ${payload.length} bytes where its file says ${length}`);
}

/** Returns when the bytes are taken: whoever reads slowly slows this down. @throws `target-failed`; the signal's reason. */
export async function writeBytes(
  { output, signal }: Pick<CatRequest, 'output' | 'signal'>,
  bytes: Uint8Array,
): Promise<void> {
  signal.throwIfAborted();
  if (bytes.length === 0) return;
  let stop = (): void => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
  });
  signal.addEventListener('abort', stop, { once: true });
  try {
    const written = new Promise<void>((resolve, reject) => {
      output.write(bytes, (error) => (error ? reject(targetError('standard output', error)) : resolve()));
    });
    await Promise.race([written, stopped]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
