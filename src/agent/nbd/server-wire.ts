// What a server sends and receives, as bytes. Pure; big-endian. Numbers are in protocol.ts.
// Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
import type { Extent } from './client.ts';
import * as nbd from './protocol.ts';

/** A request header. The cookie is the client's and only ever sent back. */
export interface ServerRequest {
  readonly flags: number;
  readonly command: number;
  readonly cookie: Uint8Array;
  /** Infinity when it is above 2^53. */
  readonly offset: number;
  readonly length: number;
}

/** Undefined when the magic is wrong. The cookie is copied. */
export function decodeRequest(header: Uint8Array): ServerRequest | undefined {
  const view = nbd.viewOf(header);
  if (view.getUint32(0) !== nbd.REQUEST_MAGIC) return undefined;
  return {
    flags: view.getUint16(4),
    command: view.getUint16(6),
    cookie: header.slice(8, 16),
    offset: nbd.readU64(view, 16),
    length: view.getUint32(24),
  };
}

/** Magic, magic, and the flags of the fixed newstyle handshake. */
export function encodeGreeting(): Uint8Array {
  const bytes = new Uint8Array(18);
  const view = nbd.viewOf(bytes);
  view.setBigUint64(0, nbd.NBD_MAGIC);
  view.setBigUint64(8, nbd.OPTION_MAGIC);
  view.setUint16(16, nbd.HANDSHAKE_FIXED_NEWSTYLE | nbd.HANDSHAKE_NO_ZEROES);
  return bytes;
}

export function encodeOptionReply(option: number, type: number, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const bytes = new Uint8Array(20 + payload.length);
  const view = nbd.viewOf(bytes);
  view.setBigUint64(0, nbd.OPTION_REPLY_MAGIC);
  view.setUint32(8, option);
  view.setUint32(12, type);
  view.setUint32(16, payload.length);
  bytes.set(payload, 20);
  return bytes;
}

/** `error` without the error bit. */
export function encodeOptionError(option: number, error: number, text: string): Uint8Array {
  const message = Buffer.from(text).subarray(0, nbd.MAX_STRING_BYTES);
  return encodeOptionReply(option, nbd.OPTION_ERROR + error, message);
}

/** Size and transmission flags: the payload of NBD_INFO_EXPORT behind its type, and the answer to NBD_OPT_EXPORT_NAME. */
export function encodeExport(sizeBytes: number, flags: number): Uint8Array {
  const bytes = new Uint8Array(10);
  const view = nbd.viewOf(bytes);
  view.setBigUint64(0, BigInt(sizeBytes));
  view.setUint16(8, flags);
  return bytes;
}

/** The payload of NBD_REP_INFO. */
export function encodeInfo(type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(2 + data.length);
  nbd.viewOf(bytes).setUint16(0, type);
  bytes.set(data, 2);
  return bytes;
}

export function encodeBlockSizes({ minimum, preferred, maximum }: nbd.BlockSizes): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = nbd.viewOf(bytes);
  view.setUint32(0, minimum);
  view.setUint32(4, preferred);
  view.setUint32(8, maximum);
  return bytes;
}

/** A text behind a number of 32 bits: its length in NBD_REP_SERVER, its id in NBD_REP_META_CONTEXT. */
export function encodeNumbered(number: number, text: string): Uint8Array {
  const data = Buffer.from(text);
  const bytes = new Uint8Array(4 + data.length);
  nbd.viewOf(bytes).setUint32(0, number);
  bytes.set(data, 4);
  return bytes;
}

export function encodeSimpleReply(cookie: Uint8Array, errno: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = nbd.viewOf(bytes);
  view.setUint32(0, nbd.SIMPLE_REPLY_MAGIC);
  view.setUint32(4, errno);
  bytes.set(cookie, 8);
  return bytes;
}

/** The header of a structured chunk, with the `head` bytes of its payload that the caller sets, and `rest` bytes that follow elsewhere. */
function chunkHead(cookie: Uint8Array, type: number, isLast: boolean, head: number, rest = 0): [Uint8Array, DataView] {
  const bytes = new Uint8Array(20 + head);
  const view = nbd.viewOf(bytes);
  view.setUint32(0, nbd.STRUCTURED_REPLY_MAGIC);
  view.setUint16(4, isLast ? nbd.CHUNK_FLAG_DONE : 0);
  view.setUint16(6, type);
  bytes.set(cookie, 8);
  view.setUint32(16, head + rest);
  return [bytes, view];
}

/** What goes before `length` bytes of data. */
export function encodeDataHead(cookie: Uint8Array, offset: number, length: number, isLast: boolean): Uint8Array {
  const [bytes, view] = chunkHead(cookie, nbd.CHUNK.offsetData, isLast, 8, length);
  view.setBigUint64(20, BigInt(offset));
  return bytes;
}

export function encodeHole(cookie: Uint8Array, offset: number, length: number, isLast: boolean): Uint8Array {
  const [bytes, view] = chunkHead(cookie, nbd.CHUNK.offsetHole, isLast, 12);
  view.setBigUint64(20, BigInt(offset));
  view.setUint32(28, length);
  return bytes;
}

/** Ends a reply that needs no data (any more). */
export function encodeNone(cookie: Uint8Array): Uint8Array {
  return chunkHead(cookie, nbd.CHUNK.none, true, 0)[0];
}

export function encodeErrorChunk(cookie: Uint8Array, errno: number, text: string): Uint8Array {
  const message = Buffer.from(text).subarray(0, nbd.MAX_STRING_BYTES);
  const [bytes, view] = chunkHead(cookie, nbd.CHUNK_ERROR, true, 6 + message.length);
  view.setUint32(20, errno);
  view.setUint16(24, message.length);
  bytes.set(message, 26);
  return bytes;
}

export function encodeStatus(cookie: Uint8Array, contextId: number, extents: readonly Extent[]): Uint8Array {
  const [bytes, view] = chunkHead(cookie, nbd.CHUNK.blockStatus, true, 4 + extents.length * 8);
  view.setUint32(20, contextId);
  extents.forEach((extent, place) => {
    view.setUint32(24 + place * 8, extent.length);
    view.setUint32(28 + place * 8, extent.flags);
  });
  return bytes;
}
