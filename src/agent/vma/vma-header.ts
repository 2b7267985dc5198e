// The header of a VMA archive: its devices and the small files it carries. Everything in it is checked, its MD5 first.
import { createHash } from 'node:crypto';
import type { HoldfastError } from '../../util/errors.ts';
import type { ExactReader } from './exact-reader.ts';
import {
  BLOBS_AT,
  CONFIG_DATA_AT,
  CONFIG_NAMES_AT,
  CONFIGS,
  DEVICE_BYTES,
  DEVICES,
  DEVICES_AT,
  HEADER_BYTES,
  HEADER_MD5_AT,
  MD5_BYTES,
  TIME_AT,
  UUID_AT,
  UUID_BYTES,
  VMA_MAGIC,
  VMA_VERSION,
} from './vma-layout.ts';

/** More than all names and files together take: each at most 64 KiB. */
const MAX_HEADER_BYTES = 64 * 1024 * 1024;

export interface VmaDevice {
  /** 1 to 255. */
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
}

export interface VmaHeader {
  readonly uuid: Buffer;
  /** When the archive was begun, Unix seconds. */
  readonly time: number;
  /** In the order of their ids. */
  readonly devices: readonly VmaDevice[];
  readonly configs: readonly { readonly name: string; readonly content: Buffer }[];
}

/** Reads the header at the start of an archive. @throws `source-failed`. */
export async function readVmaHeader(reader: ExactReader): Promise<VmaHeader> {
  const start = Buffer.alloc(HEADER_BYTES);
  const had = await reader.fill(start);
  if (had >= 4 && start.readUInt32BE(0) !== VMA_MAGIC)
    throw reader.damaged('it does not begin as one; give a vzdump archive of a virtual machine', 0);
  if (had < HEADER_BYTES) throw reader.cutOff('its header');
  const version = start.readUInt32BE(4);
  if (version !== VMA_VERSION) throw reader.damaged(`it says version ${version}, and only ${VMA_VERSION} is known`, 4);
  const headerBytes = start.readUInt32BE(BLOBS_AT + 8);
  if (headerBytes < HEADER_BYTES || headerBytes > MAX_HEADER_BYTES || headerBytes % 512 !== 0)
    throw reader.damaged(`its header claims ${headerBytes} bytes`, BLOBS_AT + 8);
  const bytes = Buffer.alloc(headerBytes);
  start.copy(bytes);
  const rest = bytes.subarray(HEADER_BYTES);
  if ((await reader.fill(rest)) < rest.length) throw reader.cutOff('its header');
  return parseVmaHeader(bytes, (why, at) => reader.damaged(why, at));
}

/** Parses a whole header. Throws what `damaged` makes. */
function parseVmaHeader(bytes: Buffer, damaged: (why: string, at: number) => HoldfastError): VmaHeader {
  if (!isSealed(bytes, HEADER_MD5_AT)) throw damaged('the MD5 of the header is wrong: it is damaged', HEADER_MD5_AT);
  const blobs = new Blobs(bytes, damaged);
  const devices: VmaDevice[] = [];
  for (let id = 1; id < DEVICES; id++) {
    const at = DEVICES_AT + id * DEVICE_BYTES;
    const pointer = bytes.readUInt32BE(at);
    const size = bytes.readBigUInt64BE(at + 8);
    if (pointer === 0 && size === 0n) continue;
    if (pointer === 0 || size === 0n) throw damaged(`device ${id} has ${pointer === 0 ? 'no name' : 'no size'}`, at);
    if (size > Number.MAX_SAFE_INTEGER) throw damaged(`device ${id} claims ${size} bytes`, at + 8);
    devices.push({ id, name: blobs.text(pointer, at), sizeBytes: Number(size) });
  }
  const configs: { name: string; content: Buffer }[] = [];
  for (let place = 0; place < CONFIGS; place++) {
    const at = CONFIG_NAMES_AT + place * 4;
    const name = bytes.readUInt32BE(at);
    const content = bytes.readUInt32BE(CONFIG_DATA_AT + place * 4);
    if (name === 0 && content === 0) continue;
    if (name === 0 || content === 0) throw damaged(`file ${place} has ${name === 0 ? 'no name' : 'no content'}`, at);
    configs.push({ name: blobs.text(name, at), content: blobs.bytes(content, at) });
  }
  const uuid = bytes.subarray(UUID_AT, UUID_AT + UUID_BYTES);
  return { uuid, time: Number(bytes.readBigInt64BE(TIME_AT)), devices, configs };
}

/** Whether the MD5 at `at` is that of all the bytes, with itself as zeros. */
export function isSealed(bytes: Buffer, at: number): boolean {
  const zeros = Buffer.alloc(MD5_BYTES);
  const sum = createHash('md5')
    .update(bytes.subarray(0, at))
    .update(zeros)
    .update(bytes.subarray(at + MD5_BYTES))
    .digest();
  return sum.equals(bytes.subarray(at, at + MD5_BYTES));
}

/** What pointers lead to: a length of two bytes, little-endian, and so many bytes. */
class Blobs {
  readonly #buffer: Buffer;
  readonly #damaged: (why: string, at: number) => HoldfastError;

  constructor(header: Buffer, damaged: (why: string, at: number) => HoldfastError) {
    const offset = header.readUInt32BE(BLOBS_AT);
    const length = header.readUInt32BE(BLOBS_AT + 4);
    if (offset < HEADER_BYTES || offset + length > header.length)
      throw damaged(`its names lie at ${offset} with ${length} bytes, outside of the header`, BLOBS_AT);
    this.#buffer = header.subarray(offset, offset + length);
    this.#damaged = damaged;
  }

  bytes(pointer: number, at: number): Buffer {
    const start = pointer + 2;
    const end = start <= this.#buffer.length ? start + this.#buffer.readUInt16LE(pointer) : Number.POSITIVE_INFINITY;
    if (end > this.#buffer.length) throw this.#damaged(`a pointer leads to ${pointer}, outside of the names`, at);
    return this.#buffer.subarray(start, end);
  }

  /** A text up to the zero byte at its end. */
  text(pointer: number, at: number): string {
    const bytes = this.bytes(pointer, at);
    if (bytes.indexOf(0) !== bytes.length - 1) throw this.#damaged('a name does not end with a zero byte', at);
    return bytes.toString('latin1', 0, bytes.length - 1);
  }
}
