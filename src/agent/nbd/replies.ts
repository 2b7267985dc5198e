// Reads the server's replies, message by message, and lands their payload in place. Which kind a message is, is told by
// its magic: QEMU mixes simple and structured replies. A structured chunk for an unknown cookie is dropped (QEMU 7.2 sends
// one after a failed status request); any other breach of the protocol ends the connection.
import { HoldfastError } from '../../util/errors.ts';
import type { Intake } from './handshake.ts';
import * as nbd from './protocol.ts';
import type { ReadRequest, Request, StatusRequest } from './requests.ts';

export interface ReplyContext {
  /** Names the server in messages. */
  readonly label: string;
  readonly structuredReplies: boolean;
  /** By cookie. */
  readonly pending: ReadonlyMap<number, Request>;
  /** The reply to a request is complete; `error` when the server could not serve it. */
  settled(cookie: number, error?: HoldfastError): void;
}

/** One block status of QEMU holds at most 128 Ki extents (1 MiB). */
const MAX_STATUS_BYTES = 16 << 20;
/** Nothing that we ask for is answered by larger chunks. */
const MAX_CHUNK_BYTES = 64 << 20;

interface Chunk {
  type: number;
  length: number;
}

/** Never ends; throws `source-failed` on a breach of the protocol. */
export function* receiveReplies(context: ReplyContext): Intake<never> {
  const scratch = new Uint8Array(65_536);
  const view = nbd.viewOf(scratch);
  const head = scratch.subarray(0, 16);
  const lengthBytes = scratch.subarray(16, 20);
  for (;;) {
    yield head;
    const magic = view.getUint32(0);
    const cookie = nbd.readU64(view, 8);
    const request = context.pending.get(cookie);
    if (magic === nbd.SIMPLE_REPLY_MAGIC) {
      yield* receiveSimple(context, cookie, request, view.getUint32(4));
    } else if (magic === nbd.STRUCTURED_REPLY_MAGIC && context.structuredReplies) {
      const isLast = (view.getUint16(4) & nbd.CHUNK_FLAG_DONE) !== 0;
      const type = view.getUint16(6);
      yield lengthBytes;
      const chunk = { type, length: view.getUint32(16) };
      if (chunk.length > MAX_CHUNK_BYTES) throw breach(context, `a chunk of ${chunk.length} bytes`);
      if (!request) yield* skip(scratch, chunk.length);
      else yield* receiveChunk(context, request, chunk);
      if (request && isLast) context.settled(cookie, request.error ?? incomplete(context, request));
    } else {
      throw breach(context, `a reply with the magic 0x${magic.toString(16)}`);
    }
  }
}

function* receiveSimple(
  context: ReplyContext,
  cookie: number,
  request: Request | undefined,
  errno: number,
): Intake<void> {
  if (!request) {
    // Without structured replies nobody can tell whether data follows.
    if (context.structuredReplies) return;
    throw breach(context, 'a reply to a request that was never made');
  }
  if (errno !== 0) return context.settled(cookie, failure(context, request, errno, ''));
  if (request.kind !== 'read' || context.structuredReplies) throw breach(context, 'a simple reply where data belongs');
  yield request.target;
  context.settled(cookie);
}

function* receiveChunk(context: ReplyContext, request: Request, chunk: Chunk): Intake<void> {
  const { type, length } = chunk;
  if (type & nbd.CHUNK_ERROR_BIT) {
    const error = nbd.decodeErrorChunk(yield* take(context, length, nbd.MAX_STRING_BYTES + 14));
    if (!error) throw breach(context, 'a broken error');
    request.error ??= failure(context, request, error.errno, error.message);
  } else if (type === nbd.CHUNK.none) {
    if (length !== 0) throw breach(context, `an empty chunk of ${length} bytes`);
  } else if (request.kind === 'read' && type === nbd.CHUNK.offsetData) {
    yield* receiveData(context, request, length);
  } else if (request.kind === 'read' && type === nbd.CHUNK.offsetHole) {
    yield* receiveHole(context, request, length);
  } else if (request.kind === 'status' && type === nbd.CHUNK.blockStatus) {
    yield* receiveStatus(context, request, length);
  } else {
    throw breach(context, `a chunk of type ${type} in answer to a ${request.kind} request`);
  }
}

function* receiveData(context: ReplyContext, request: ReadRequest, length: number): Intake<void> {
  if (length < 9) throw breach(context, `a data chunk of ${length} bytes`);
  const offset = nbd.readU64(nbd.viewOf(yield* take(context, 8, 8)), 0);
  yield place(context, request, offset, length - 8);
}

function* receiveHole(context: ReplyContext, request: ReadRequest, length: number): Intake<void> {
  if (length !== 12) throw breach(context, `a hole chunk of ${length} bytes`);
  const view = nbd.viewOf(yield* take(context, 12, 12));
  place(context, request, nbd.readU64(view, 0), view.getUint32(8)).fill(0);
}

/** Where the bytes of a chunk belong in the caller's memory. */
function place(context: ReplyContext, request: ReadRequest, offset: number, length: number): Uint8Array {
  const start = offset - request.offset;
  if (start < 0 || length === 0 || start + length > request.length) {
    throw breach(context, `${length} bytes at ${offset} in answer to a read of ${request.length} at ${request.offset}`);
  }
  request.covered.add(start, start + length);
  return request.target.subarray(start, start + length);
}

function* receiveStatus(context: ReplyContext, request: StatusRequest, length: number): Intake<void> {
  const status = nbd.decodeBlockStatus(yield* take(context, length, MAX_STATUS_BYTES));
  if (!status) throw breach(context, `a broken block status of ${length} bytes`);
  if (status.contextId === request.contextId) request.extents = status.extents;
}

function incomplete(context: ReplyContext, request: Request): HoldfastError | undefined {
  if (request.kind === 'read' ? request.covered.isWhole(request.length) : request.extents) return undefined;
  throw breach(context, `an incomplete answer to a ${request.kind} of ${request.length} bytes at ${request.offset}`);
}

function* take(context: ReplyContext, length: number, maximum: number): Intake<Uint8Array> {
  if (length > maximum) throw breach(context, `a chunk of ${length} bytes where at most ${maximum} belong`);
  const bytes = new Uint8Array(length);
  yield bytes;
  return bytes;
}

function* skip(scratch: Uint8Array, length: number): Intake<void> {
  for (let left = length; left > 0; left -= scratch.length) yield scratch.subarray(0, Math.min(left, scratch.length));
}

function failure(context: ReplyContext, request: Request, errno: number, text: string): HoldfastError {
  const what = `${request.kind === 'read' ? 'read' : 'tell the block status of'} ${request.length} bytes at offset ${request.offset}`;
  const message = `${context.label}: the NBD server could not ${what}: ${nbd.errorName(errno)}${text && `: ${text}`}`;
  const data = { offset: request.offset, length: request.length, errno, text };
  return new HoldfastError('source-failed', message, { data });
}

function breach(context: ReplyContext, what: string): HoldfastError {
  return new HoldfastError(
    'source-failed',
    `${context.label} broke the NBD protocol: it sent ${what}; the connection was closed`,
  );
}
