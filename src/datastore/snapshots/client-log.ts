// The log that a client sends after its backup: a blob beside the manifest, in the form that Proxmox's clients send and read. The datastore wraps what comes
// as plain text, and looks into no more of it than that.
import { crc32 } from 'node:zlib';
import { Decompressor } from '../../chunker/zstd.ts';
import { HoldfastError } from '../../util/errors.ts';

/** Of a log as it comes, as it is stored, and as it is read. */
export const MAX_CLIENT_LOG_BYTES = 1024 * 1024;

const MAGIC_BYTES = 8;
const HEADER_BYTES = MAGIC_BYTES + 4;
/** Of an encrypted one also nonce and tag; the checksum is of what comes after. */
const ENCRYPTED_HEADER_BYTES = HEADER_BYTES + 32;
const PLAIN = Buffer.from('42ab3807be8370a1', 'hex');
const COMPRESSED = Buffer.from('31b958426fb6a37f', 'hex');
const ENCRYPTED = ['7b6785be222d4cf0', 'e6591bbf0bbfd80b'].map((magic) => Buffer.from(magic, 'hex'));

/** A log as it is stored: a blob as it came, text in a blob. @throws `too-large`; `bad-argument` for a blob that is not whole. */
export function asBlob(log: Buffer): Buffer {
  if (log.length > MAX_CLIENT_LOG_BYTES - HEADER_BYTES) throw tooLarge();
  const form = formOf(log);
  if (form === undefined) return wrap(log);
  const headerBytes = form === 'encrypted' ? ENCRYPTED_HEADER_BYTES : HEADER_BYTES;
  if (log.length < headerBytes || log.readUInt32LE(MAGIC_BYTES) !== crc32(log.subarray(headerBytes)))
    throw new HoldfastError('bad-argument', 'the blob is damaged: its checksum does not hold; send it again');
  if (form === 'compressed') unwrap(log);
  return log;
}

/** What a stored log says. @throws `key-missing` for an encrypted one, `object-damaged`. */
export function textOfBlob(blob: Buffer): Buffer {
  const form = formOf(blob);
  if (form === 'encrypted')
    throw new HoldfastError('key-missing', 'the log is encrypted and the server has no key: download it as it is');
  if (form === undefined || blob.readUInt32LE(MAGIC_BYTES) !== crc32(blob.subarray(HEADER_BYTES)))
    throw new HoldfastError('object-damaged', "the client's log is damaged: its checksum does not hold");
  return unwrap(blob);
}

function unwrap(blob: Buffer): Buffer {
  const data = blob.subarray(HEADER_BYTES);
  if (formOf(blob) === 'plain') return data;
  const text = Buffer.allocUnsafe(MAX_CLIENT_LOG_BYTES);
  try {
    return text.subarray(0, new Decompressor().decompress(text, data));
  } catch (error) {
    throw new HoldfastError('bad-argument', `the blob holds no log of at most ${MAX_CLIENT_LOG_BYTES} bytes`, {
      cause: error,
    });
  }
}

function wrap(text: Buffer): Buffer {
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(text));
  return Buffer.concat([PLAIN, checksum, text]);
}

function formOf(bytes: Buffer): 'plain' | 'compressed' | 'encrypted' | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const magic = bytes.subarray(0, MAGIC_BYTES);
  if (magic.equals(PLAIN)) return 'plain';
  if (magic.equals(COMPRESSED)) return 'compressed';
  return ENCRYPTED.some((each) => magic.equals(each)) ? 'encrypted' : undefined;
}

function tooLarge(): HoldfastError {
  return new HoldfastError('too-large', `a log has at most ${MAX_CLIENT_LOG_BYTES} bytes; send the end of it`);
}
