// The 512-byte header block of a tar member: POSIX.1-2017 ustar, with what GNU tar adds to its numbers. tar-stream writes those of the members that
// we export; reading is our own, because it makes text of names and pax values, which are bytes, and knows no sparse files.
import type { ByteString } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';

export const BLOCK_BYTES = 512;
const CHECKSUM_AT = 148;
const CHECKSUM_BYTES = 8;

/** One header block. Numbers are safe integers. */
export interface TarHeader {
  /** With the prefix of a ustar header. */
  readonly name: ByteString;
  /** As it stands: old archives put more into it than the permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  /** Seconds. */
  readonly mtime: number;
  /** One character; '0' for a NUL. */
  readonly type: string;
  readonly linkName: ByteString;
  readonly major: number;
  readonly minor: number;
}

/** Where a name is divided into prefix and name; undefined when it does not fit. 0: no prefix. */
export function prefixLength(name: ByteString): number | undefined {
  if (name.length <= 100) return 0;
  const cut = name.indexOf('/', name.length - 101);
  return cut > 0 && cut <= 155 && cut < name.length - 1 ? cut : undefined;
}

/** Numbers and names that do not fit are cut off: a pax header has to say them. */
export function encodeHeader(header: TarHeader): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, at: number, digits: number): void => {
    const clipped = Math.min(Math.max(value, 0), 8 ** digits - 1);
    block.write(clipped.toString(8).padStart(digits, '0'), at, 'latin1');
  };
  const cut = prefixLength(header.name);
  block.write(cut ? header.name.slice(cut + 1) : header.name.slice(0, 100), 0, 'latin1');
  octal(header.mode, 100, 7);
  octal(header.uid, 108, 7);
  octal(header.gid, 116, 7);
  octal(header.sizeBytes, 124, 11);
  octal(header.mtime, 136, 11);
  block.write(header.type, 156, 'latin1');
  block.write(header.linkName.slice(0, 100), 157, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(header.major, 329, 7);
  octal(header.minor, 337, 7);
  if (cut) block.write(header.name.slice(0, cut), 345, 'latin1');
  block.write(`${checksum(block, false).toString(8).padStart(6, '0')}\0 `, CHECKSUM_AT, 'latin1');
  return block;
}

/** Undefined for a block of zeros. @throws `source-failed` when it is no header. */
export function decodeHeader(block: Buffer): TarHeader | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  const stored = octalNumber(block, CHECKSUM_AT, CHECKSUM_BYTES);
  // Some old programs added the bytes up as signed ones.
  if (stored !== checksum(block, false) && stored !== checksum(block, true))
    throw malformedTar('a header has a wrong checksum: it is damaged, or no tar archive');
  // GNU's own format keeps times where ustar has the prefix.
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isUstar ? text(block, 345, 155) : '';
  const name = text(block, 0, 100);
  return {
    name: (prefix === '' ? name : `${prefix}/${name}`) as ByteString,
    mode: tarNumber(block, 100, 8),
    uid: tarNumber(block, 108, 8),
    gid: tarNumber(block, 116, 8),
    sizeBytes: tarNumber(block, 124, 12),
    mtime: tarNumber(block, 136, 12),
    type: block[156] === 0 ? '0' : String.fromCharCode(block[156] as number),
    linkName: text(block, 157, 100),
    major: tarNumber(block, 329, 8),
    minor: tarNumber(block, 337, 8),
  };
}

/** Octal digits with spaces or a NUL around them, or GNU's base 256 in two's complement. @throws `source-failed`. */
export function tarNumber(block: Buffer, at: number, length: number): number {
  const first = block[at] as number;
  if ((first & 0x80) !== 0) {
    let value = BigInt(first & 0x7f) - ((first & 0x40) !== 0 ? 0x80n : 0n);
    for (let place = at + 1; place < at + length; place++) value = (value << 8n) | BigInt(block[place] as number);
    if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER)
      throw malformedTar('a number in a header is too large');
    return Number(value);
  }
  const value = octalNumber(block, at, length);
  if (value === undefined) throw malformedTar('a number in a header has no octal digits');
  if (!Number.isSafeInteger(value)) throw malformedTar('a number in a header is too large');
  return value;
}

function octalNumber(block: Buffer, at: number, length: number): number | undefined {
  const text = block.toString('latin1', at, at + length).split('\0')[0] as string;
  const digits = /^ *([0-7]*) *$/.exec(text)?.[1];
  if (digits === undefined) return undefined;
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

/** An error about the archive itself. `why` reads on after "the tar archive is not one that can be taken". */
export function malformedTar(why: string, cause?: unknown): HoldfastError {
  return new HoldfastError('source-failed', `the tar archive cannot be taken: ${why}`, { cause });
}

/** Bytes up to the next full block. */
export function padding(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

function text(block: Buffer, at: number, length: number): ByteString {
  const end = block.indexOf(0, at);
  return block.toString('latin1', at, end < 0 || end > at + length ? at + length : end) as ByteString;
}

/** The sum of all bytes, with spaces for the checksum itself. */
function checksum(block: Buffer, isSigned: boolean): number {
  let sum = CHECKSUM_BYTES * 0x20;
  for (let at = 0; at < BLOCK_BYTES; at++) {
    if (at >= CHECKSUM_AT && at < CHECKSUM_AT + CHECKSUM_BYTES) continue;
    sum += isSigned ? block.readInt8(at) : (block[at] as number);
  }
  return sum;
}
