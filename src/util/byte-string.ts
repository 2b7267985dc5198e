// Names and paths of files are bytes, not text: here they are strings with one character per byte, which compare, sort and serve as keys
// as the bytes do.

declare const byteStringBrand: unique symbol;

/** A name or path: each character is one byte, 1 to 255. */
export type ByteString = string & { readonly [byteStringBrand]: true };

export const EMPTY = '' as ByteString;

/** From bytes, such as a name in a directory object. */
export function fromBytes(bytes: Uint8Array, start = 0, end = bytes.length): ByteString {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', start, end) as ByteString;
}

/** From text that a user typed. */
export function fromText(text: string): ByteString {
  return Buffer.from(text, 'utf8').toString('latin1') as ByteString;
}

export function toBytes(name: ByteString): Buffer {
  return Buffer.from(name, 'latin1');
}

/** What people read: UTF-8 where it is that, else each byte that is not ASCII as \xHH. */
export function display(name: ByteString): string {
  const bytes = toBytes(name);
  const text = bytes.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(bytes)) return text;
  return name.replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);
}

/** A path below a path; the empty path is the top. */
export function below(path: ByteString, name: ByteString): ByteString {
  return (path === '' ? name : `${path}/${name}`) as ByteString;
}
