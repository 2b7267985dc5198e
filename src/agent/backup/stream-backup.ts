// Backs up a stream that can be read once, such as standard input: cut by one worker thread in order, its pieces in lists.
import type { Readable } from 'node:stream';
import { cutRecord, streamCutParameters } from '../../chunker/cut-parameters.ts';
import { ListBuilder } from '../../chunker/list.ts';
import { Kind, type ObjectId } from '../../chunker/object.ts';
import type { Archive } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { Session } from './session.ts';
import type { StreamPiece } from './stream-cutter.ts';

/** Bytes that are collected before the thread is called: a call costs 44 us. */
const PORTION_BYTES = 1024 * 1024;

export interface StreamWork {
  readonly name: string;
  readonly stream: Readable;
  readonly averageBytes: number;
  /** Undefined for the public one. */
  readonly cutSeed: string | undefined;
  readonly onProgress: (bytesDone: number) => void;
  readonly signal: AbortSignal;
}

/** @throws `source-failed` when the stream fails. */
export async function backupStream(
  pool: WorkerPool,
  session: Session,
  work: StreamWork,
): Promise<{ archive: Archive; bytesRead: number }> {
  const cut = streamCutParameters(work.averageBytes, work.cutSeed);
  const lists = new ListBuilder(Kind.data, (kind, refs, payload) => session.put(kind, refs, payload));
  await pool.call(0, 'backup.openStream', cut);
  let sizeBytes = 0;
  const pass = async (bytes: Uint8Array, final: boolean): Promise<void> => {
    const pieces = await pool.call<StreamPiece[]>(0, 'backup.streamBytes', { session: session.id, bytes, final });
    for (const { length, id } of pieces)
      await lists.add({ length, id: id === undefined ? undefined : (Buffer.from(id) as ObjectId) });
    sizeBytes += bytes.length;
    work.onProgress(sizeBytes);
  };
  // Whoever feeds the stream may be silent for hours: an abort does not wait for the next byte.
  const stop = (): void => void work.stream.destroy(work.signal.reason as Error);
  work.signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const portion of portions(work.stream)) {
      work.signal.throwIfAborted();
      await pass(portion, false);
    }
  } finally {
    work.signal.removeEventListener('abort', stop);
  }
  await pass(new Uint8Array(0), true);
  const root = (await lists.finish()).toString('hex');
  return {
    archive: { name: work.name, kind: 'stream', sizeBytes, root, chunker: cutRecord(cut) },
    bytesRead: sizeBytes,
  };
}

async function* portions(stream: Readable): AsyncGenerator<Buffer> {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      pending.push(chunk);
      pendingBytes += chunk.length;
      if (pendingBytes < PORTION_BYTES) continue;
      yield Buffer.concat(pending);
      pending = [];
      pendingBytes = 0;
    }
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('source-failed', `standard input failed: ${(cause as Error).message}`, { cause });
  }
  if (pendingBytes > 0) yield Buffer.concat(pending);
}
