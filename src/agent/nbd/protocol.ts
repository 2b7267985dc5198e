// The NBD wire format as far as a client and a server that only read need it: numbers, and bytes to values and back. Pure; big-endian.
// Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md

export const NBD_MAGIC = 0x4e42444d41474943n;
export const OPTION_MAGIC = 0x49484156454f5054n;
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const HANDSHAKE_FIXED_NEWSTYLE = 1;
export const HANDSHAKE_NO_ZEROES = 2;

export const OPTION = {
  exportName: 1,
  abort: 2,
  list: 3,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;
export const REPLY = { ack: 1, server: 2, info: 3, metaContext: 4 } as const;
export const OPTION_ERROR = 0x80000000;
export const OPTION_ERRORS: Readonly<Record<number, string>> = {
  1: 'option not supported',
  2: 'forbidden by policy',
  3: 'invalid request',
  4: 'not supported by the platform',
  5: 'TLS required',
  6: 'unknown export',
  7: 'server is shutting down',
  8: 'block size negotiation required',
  9: 'request too big',
};
export const OPTION_ERROR_UNSUPPORTED = 1;
export const OPTION_ERROR_INVALID = 3;
export const OPTION_ERROR_PLATFORM = 4;
export const OPTION_ERROR_TLS = 5;
export const OPTION_ERROR_UNKNOWN = 6;
export const OPTION_ERROR_TOO_BIG = 9;

export const INFO = { export: 0, name: 1, description: 2, blockSize: 3 } as const;
export const COMMAND = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
  resize: 8,
} as const;
/** DF: do not fragment the answer to a read. REQ_ONE: only the first extent of a block status. */
export const COMMAND_FLAG = { doNotFragment: 4, oneExtent: 8 } as const;
export const TRANSMISSION = {
  hasFlags: 1,
  readOnly: 2,
  sendFlush: 4,
  sendDoNotFragment: 128,
  multipleConnections: 256,
  sendCache: 1024,
} as const;
export const BASE_ALLOCATION = 'base:allocation';

export const CHUNK_FLAG_DONE = 1;
export const CHUNK = { none: 0, offsetData: 1, offsetHole: 2, blockStatus: 5 } as const;
/** Chunk types with this bit are errors: u32 errno, u16 length, message. */
export const CHUNK_ERROR_BIT = 0x8000;
export const CHUNK_ERROR = 0x8001;

/** `base:allocation`: the range is not allocated. It does not say what it reads as. */
export const STATE_HOLE = 1;
/** `base:allocation`: the range reads as zeros. */
export const STATE_ZERO = 2;
/** `qemu:dirty-bitmap:NAME`: the range was written. */
export const STATE_DIRTY = 1;

export const REQUEST_BYTES = 28;
/** A string is at most 4096 bytes by the protocol; the bound for an option reply is ours. */
export const MAX_STRING_BYTES = 4096;
export const MAX_OPTION_REPLY_BYTES = 65_536;

/** Error numbers as NBD defines them (they are Linux's). */
export const ERRNO = { EPERM: 1, EIO: 5, EINVAL: 22, ESHUTDOWN: 108 } as const;

const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  22: 'EINVAL',
  28: 'ENOSPC',
  75: 'EOVERFLOW',
  95: 'ENOTSUP',
  108: 'ESHUTDOWN',
};

/** Name of an error number. */
export function errorName(errno: number): string {
  return ERRNO_NAMES[errno] ?? `error ${errno}`;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A u64 that must be a safe integer; what is larger comes back as Infinity. */
export function readU64(view: DataView, at: number): number {
  const value = view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
  return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY;
}

export function encodeOption(option: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16 + data.length);
  const view = viewOf(bytes);
  view.setBigUint64(0, OPTION_MAGIC);
  view.setUint32(8, option);
  view.setUint32(12, data.length);
  bytes.set(data, 16);
  return bytes;
}

export interface OptionReply {
  option: number;
  /** The type; for errors the number without the error bit. */
  type: number;
  isError: boolean;
  length: number;
}

/** Undefined when the magic is wrong. */
export function decodeOptionReply(header: Uint8Array): OptionReply | undefined {
  const view = viewOf(header);
  if (view.getBigUint64(0) !== OPTION_REPLY_MAGIC) return undefined;
  const type = view.getUint32(12);
  const isError = type >= OPTION_ERROR;
  return { option: view.getUint32(8), type: isError ? type - OPTION_ERROR : type, isError, length: view.getUint32(16) };
}

function lengthPrefixed(text: string): Uint8Array {
  const data = Buffer.from(text);
  const bytes = new Uint8Array(4 + data.length);
  viewOf(bytes).setUint32(0, data.length);
  bytes.set(data, 4);
  return bytes;
}

/** Payload of NBD_OPT_GO that asks for the block sizes. */
export function encodeGo(exportName: string): Uint8Array {
  return Buffer.concat([lengthPrefixed(exportName), new Uint8Array([0, 1, 0, INFO.blockSize])]);
}

/** Payload of NBD_OPT_SET_META_CONTEXT; the name must be the one given to NBD_OPT_GO. */
export function encodeMetaContexts(exportName: string, contexts: readonly string[]): Uint8Array {
  const count = new Uint8Array(4);
  viewOf(count).setUint32(0, contexts.length);
  return Buffer.concat([lengthPrefixed(exportName), count, ...contexts.map(lengthPrefixed)]);
}

export interface BlockSizes {
  minimum: number;
  preferred: number;
  maximum: number;
}

/** `offset` and `length` in bytes; `cookie` a safe integer. */
export function encodeRequest(command: number, cookie: number, offset: number, length: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(REQUEST_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, REQUEST_MAGIC);
  view.setUint16(4, flags);
  view.setUint16(6, command);
  view.setUint32(8, Math.floor(cookie / 0x1_0000_0000));
  view.setUint32(12, cookie >>> 0);
  view.setUint32(16, Math.floor(offset / 0x1_0000_0000));
  view.setUint32(20, offset >>> 0);
  view.setUint32(24, length);
  return bytes;
}

export interface BlockStatus {
  contextId: number;
  /** Pairs of length and flags. */
  extents: Uint32Array;
}

/** Undefined when the payload does not consist of a context id and at least one whole extent of at least one byte. */
export function decodeBlockStatus(payload: Uint8Array): BlockStatus | undefined {
  if (payload.length < 12 || payload.length % 8 !== 4) return undefined;
  const view = viewOf(payload);
  const extents = new Uint32Array((payload.length - 4) / 4);
  for (let index = 0; index < extents.length; index += 1) extents[index] = view.getUint32(4 + index * 4);
  for (let index = 0; index < extents.length; index += 2) if (extents[index] === 0) return undefined;
  return { contextId: view.getUint32(0), extents };
}

/** Undefined when the payload of an error chunk is not one. The message may be empty. */
export function decodeErrorChunk(payload: Uint8Array): { errno: number; message: string } | undefined {
  if (payload.length < 6) return undefined;
  const view = viewOf(payload);
  const length = view.getUint16(4);
  if (6 + length > payload.length) return undefined;
  return { errno: view.getUint32(0), message: Buffer.from(payload.subarray(6, 6 + length)).toString() };
}
