// A restore: walk the tree, give ranges to the worker threads, which write files in place; a pipe gets them in order.
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, stat, unlink } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { type List, parseList } from '../../chunker/list.ts';
import { Kind, MAX_OBJECT_BYTES, type ObjectId, PAGE_BYTES, parseId, type StoredObject } from '../../chunker/object.ts';
import type { Archive } from '../../schema/manifest.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import type { Threads, WorkerPool } from '../../util/worker-pool.ts';
import { inOrder } from '../in-order.ts';
import { blockDeviceBytes } from '../sources/file-size.ts';
import { LostRanges } from './lost-ranges.ts';
import { isLostObject, type LostRange, type RestorePiece } from './piece-restorer.ts';
import type { RestoredRange, RestoreWork } from './restore-work.ts';
import { type FileTargetLocator, targetError } from './target.ts';

export interface RestoreRequest {
  readonly archive: Archive;
  readonly space: number;
  /** A path, or `-` for `stdout`. */
  readonly target: string;
  /** Write over what is there. */
  readonly overwrite: boolean;
  /** Write zeros where objects are lost, and go on; without it the first one ends the restore. */
  readonly zeroLost: boolean;
  readonly stdout: Writable;
  readonly signal: AbortSignal;
  readonly onProgress: (bytesDone: number, bytesTotal: number) => void;
  /** Only these bytes of the archive; to `stdout` alone. */
  readonly span?: Span | undefined;
}

/** Bytes from `start` to before `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Reads metadata objects for the walk. */
export type GetObject = (space: number, id: ObjectId) => Promise<StoredObject>;

/** Entries of a stream's list that make one piece of work. */
const PIECES_PER_RANGE = 128;

/**
 * Restores one archive and returns the ranges that are zeros because they are lost: none without `zeroLost`. Every other byte is checked
 * against its object's id. A target file that this made is removed again on failure.
 * @throws `bad-argument` for a file tree, `target-unfit` when the target is too small or not empty, `object-missing`, `object-damaged`, `target-failed`.
 */
export async function runRestore(
  request: RestoreRequest,
  pool: WorkerPool,
  get: GetObject,
): Promise<readonly LostRange[]> {
  if (request.archive.kind === 'tree')
    throw new HoldfastError(
      'bad-argument',
      `${request.archive.name} is a file tree and no disk; a file of it comes with: holdfast snapshot cat`,
    );
  if (request.target === '-') return await restoreToPipe(request, pool, get);
  const target = await prepareTarget(request);
  try {
    const lost = await restoreRanges(request, pool, get, target.locator, async () => {});
    await pool.all('restore.closeTarget', undefined);
    await target.finish();
    return lost;
  } catch (error) {
    await pool.all('restore.closeTarget', undefined);
    await target.discard();
    throw error;
  }
}

/** The part of `runRestore` for a pipe, whose threads are anybody's. */
export async function restoreToPipe(
  request: Omit<RestoreRequest, 'target' | 'overwrite'>,
  pool: Threads,
  get: GetObject,
): Promise<readonly LostRange[]> {
  const { stdout, signal } = request;
  let failure: unknown;
  const onError = (error: Error): void => {
    failure = targetError('standard output', error);
  };
  // A reader that waits for something else must not keep a restore from being stopped.
  let stop = (): void => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
  });
  stopped.catch(() => undefined);
  stdout.on('error', onError);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await restoreRanges(request, pool, get, undefined, async (bytes) => {
      const written = new Promise<void>((resolve, reject) => {
        stdout.write(bytes, (error) => (error ? reject(targetError('standard output', error)) : resolve()));
      });
      await Promise.race([written, stopped]);
      if (failure !== undefined) throw failure;
    });
  } finally {
    signal.removeEventListener('abort', stop);
    stdout.off('error', onError);
  }
}

async function restoreRanges(
  request: Omit<RestoreRequest, 'target' | 'overwrite'>,
  pool: Threads,
  get: GetObject,
  target: FileTargetLocator | undefined,
  take: (bytes: Uint8Array) => Promise<void>,
): Promise<readonly LostRange[]> {
  const { archive, space, signal, onProgress, zeroLost } = request;
  const lost = new LostRanges();
  // Without a span all that there is, so that an archive that is longer than its manifest says is found out.
  const span = request.span ?? { start: 0, end: Number.POSITIVE_INFINITY };
  const wantedBytes = request.span === undefined ? archive.sizeBytes : span.end - span.start;
  let bytesDone = 0;
  await inOrder(
    pool.size,
    rangesOf(archive, { span, zeroLost, get: (id) => get(space, id) }),
    async (range, thread) => {
      signal.throwIfAborted();
      const { isLost, ...place } = range;
      const work: RestoreWork = { space, target, zeroLost, ...place };
      return await pool.call<RestoredRange>(thread, 'restore.range', work);
    },
    async (range, restored) => {
      if (range.isLost) lost.add([range]);
      lost.add(restored.lost);
      const first = Math.max(0, span.start - range.offset);
      const last = Math.min(range.length, span.end - range.offset);
      if (restored.bytes !== undefined) await take(new Uint8Array(restored.bytes, first, last - first));
      bytesDone += last - first;
      onProgress(bytesDone, wantedBytes);
    },
  );
  if (bytesDone !== wantedBytes) {
    throw new HoldfastError(
      'object-damaged',
      `${archive.name} holds ${bytesDone} bytes where its manifest says ${wantedBytes}`,
    );
  }
  return lost.ranges;
}

interface RestoreRange {
  readonly offset: number;
  readonly length: number;
  readonly page: Uint8Array | undefined;
  readonly pieces: readonly RestorePiece[] | undefined;
  /** A hole that stands for something lost. */
  readonly isLost?: true;
}

interface Walk {
  /** What lies outside of it is not read. */
  readonly span: Span;
  readonly zeroLost: boolean;
  readonly get: (id: ObjectId) => Promise<StoredObject>;
}

/** The ranges of an archive in order: pages of an image, runs of pieces of a stream, the one piece of a blob. */
async function* rangesOf(archive: Archive, walk: Walk): AsyncGenerator<RestoreRange> {
  const root = parseId(archive.root) as ObjectId;
  if (archive.kind === 'blob') {
    if (archive.sizeBytes > 0)
      yield {
        offset: 0,
        length: archive.sizeBytes,
        page: undefined,
        pieces: [{ length: archive.sizeBytes, id: root }],
      };
    return;
  }
  yield* rangesOfList(walk, root, 0, archive.sizeBytes);
}

async function* rangesOfList(walk: Walk, id: ObjectId, start: number, length: number): AsyncGenerator<RestoreRange> {
  const { span, zeroLost, get } = walk;
  let list: List;
  try {
    const { payload, refs } = await get(id);
    list = parseList(payload, refs);
  } catch (error) {
    if (!zeroLost || !isLostObject(error)) throw error;
    for (const hole of holeRanges(start, length, span)) yield { ...hole, isLost: true };
    return;
  }
  let offset = start;
  if (list.childKind === Kind.data) {
    for (const { pieces, length } of runsOf(list.entries)) {
      if (pieces === undefined) yield* holeRanges(offset, length, span);
      else if (touches(span, offset, length)) yield { offset, length, page: undefined, pieces };
      offset += length;
    }
    return;
  }
  for (const { id: child, length: bytes } of list.entries) {
    const at = offset;
    offset += bytes;
    if (child === undefined) yield* holeRanges(at, bytes, span);
    else if (!touches(span, at, bytes)) continue;
    else if (list.childKind === Kind.list) yield* rangesOfList(walk, child, at, bytes);
    else yield { offset: at, length: bytes, page: child, pieces: undefined };
  }
}

/** Pieces of a stream that are restored at once, for they are held in memory; a long hole, which may be of any length, without them. */
function* runsOf(
  entries: List['entries'],
): Generator<{ readonly pieces: RestorePiece[] | undefined; readonly length: number }> {
  let pieces: RestorePiece[] = [];
  let length = 0;
  for (const piece of entries) {
    if (piece.id !== undefined && piece.length > MAX_OBJECT_BYTES)
      throw new HoldfastError('object-damaged', `a piece of ${piece.length} bytes is longer than any object`);
    if (pieces.length === PIECES_PER_RANGE || (length > 0 && length + piece.length > PAGE_BYTES)) {
      yield { pieces, length };
      pieces = [];
      length = 0;
    }
    if (piece.id === undefined && piece.length > PAGE_BYTES) {
      yield { pieces: undefined, length: piece.length };
      continue;
    }
    pieces.push(piece);
    length += piece.length;
  }
  if (pieces.length > 0) yield { pieces, length };
}

/** What the span has of a hole, in parts of a page. */
function* holeRanges(start: number, length: number, span: Span): Generator<RestoreRange> {
  const end = Math.min(start + length, span.end);
  for (let offset = Math.max(start, span.start); offset < end; offset += PAGE_BYTES) {
    const part = Math.min(PAGE_BYTES, end - offset);
    yield { offset, length: part, page: undefined, pieces: [{ length: part, id: undefined }] };
  }
}

function touches({ start, end }: Span, offset: number, length: number): boolean {
  return offset < end && offset + length > start;
}

interface PreparedTarget {
  readonly locator: FileTargetLocator;
  finish(): Promise<void>;
  discard(): Promise<void>;
}

async function prepareTarget(request: RestoreRequest): Promise<PreparedTarget> {
  const { target, archive } = request;
  const before = await statIfPresent(target);
  if (before === undefined || before.isFile()) return await prepareFile(request, before);
  if (before.isBlockDevice()) return await prepareDevice(request, before);
  throw new HoldfastError(
    'target-unfit',
    `${target} is neither a file nor a block device; restore ${archive.name} to a path that does not exist yet`,
  );
}

async function prepareFile(request: RestoreRequest, before: Stats | undefined): Promise<PreparedTarget> {
  const { target, archive, overwrite } = request;
  if (before !== undefined && before.size > 0 && !overwrite) {
    throw new HoldfastError(
      'target-unfit',
      `${target} exists and is not empty (${before.size} bytes); name another file, or give --overwrite to replace it`,
    );
  }
  const file = await openTarget(
    target,
    constants.O_RDWR | (before === undefined ? constants.O_CREAT | constants.O_EXCL : 0),
  );
  const discard = async (): Promise<void> => {
    await file.close();
    if (before === undefined) await unlink(target).catch(() => undefined);
  };
  try {
    // First to nothing, so that what was there before cannot show through holes.
    await file.truncate(0);
    await file.truncate(archive.sizeBytes);
  } catch (error) {
    await discard();
    throw targetError(target, error);
  }
  return { locator: { path: target, holesAreThere: true }, finish: () => syncAndClose(file, target), discard };
}

async function prepareDevice(request: RestoreRequest, before: Stats): Promise<PreparedTarget> {
  const { target, archive, overwrite } = request;
  const sizeBytes = blockDeviceBytes(before.rdev, target);
  if (sizeBytes < archive.sizeBytes) {
    throw new HoldfastError(
      'target-unfit',
      `${target} has ${sizeBytes} bytes, ${archive.name} needs ${archive.sizeBytes}; take a larger device`,
    );
  }
  const file = await openTarget(target, constants.O_RDWR | constants.O_EXCL);
  const discard = async (): Promise<void> => await file.close();
  if (!overwrite && !(await looksEmpty(file, sizeBytes))) {
    await discard();
    throw new HoldfastError('target-unfit', `${target} holds data; give --overwrite to replace it`);
  }
  return { locator: { path: target, holesAreThere: false }, finish: () => syncAndClose(file, target), discard };
}

/** Partition tables and superblocks stand at the start or the end of a device. */
async function looksEmpty(file: FileHandle, sizeBytes: number): Promise<boolean> {
  const bytes = Buffer.alloc(1024 * 1024);
  for (const at of [0, Math.max(0, sizeBytes - bytes.length)]) {
    const { bytesRead } = await file.read(bytes, 0, bytes.length, at);
    if (bytes.subarray(0, bytesRead).some((byte) => byte !== 0)) return false;
  }
  return true;
}

async function openTarget(path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags, 0o640);
  } catch (error) {
    if (systemCode(error) === 'EBUSY') {
      throw new HoldfastError('target-unfit', `${path} is in use (mounted, or part of another device); free it first`, {
        cause: error,
      });
    }
    throw targetError(path, error);
  }
}

/** What was written is durable on return. @throws as `targetError` says. */
export async function syncAndClose(file: FileHandle, path: string): Promise<void> {
  try {
    await file.datasync();
  } catch (error) {
    throw targetError(path, error);
  } finally {
    await file.close();
  }
}

async function statIfPresent(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw targetError(path, error);
  }
}
