// Names and paths of files, which are bytes, as people and programs read them: nothing of a hostile name reaches a terminal or breaks a line.
import { type ByteString, toBytes } from './byte-string.ts';

/** One line for a terminal: what is not UTF-8, and what steers or hides, as \\xHH for each byte, and a backslash as two, so that it can be typed. */
export function shownPath(path: ByteString): string {
  const text = path.replace(/\\/g, '\\\\');
  const bytes = Buffer.from(text, 'latin1');
  const utf8 = bytes.toString('utf8');
  if (!Buffer.from(utf8, 'utf8').equals(bytes)) return text.replace(/[^\x20-\x7e]/g, escaped);
  // What steers a terminal, or hides or turns round what stands beside it.
  return utf8.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Buffer.from(character, 'utf8').toString('latin1').replace(/./gs, escaped),
  );
}

/** Members of JSON for a path or name: text when it is UTF-8, else an approximation of it, and its bytes (base64) under `KEYBytes`. */
export function jsonPath<Key extends string>(key: Key, path: ByteString): Record<string, string> {
  const bytes = toBytes(path);
  const text = bytes.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(bytes)) return { [key]: text };
  return { [key]: shownPath(path), [`${key}Bytes`]: bytes.toString('base64') };
}

function escaped(byte: string): string {
  return `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
