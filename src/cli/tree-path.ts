// Paths in archives as people type them, in the form in which `shownPath` shows them.
import { type ByteString, fromText } from '../util/byte-string.ts';

/**
 * A path that a user typed, relative to the top: slashes at its ends, doubled ones and `.` do not count. `\xHH` is a byte, `\\` a
 * backslash; a backslash before anything else is itself.
 */
export function parseTreePath(text: string): ByteString {
  const bytes = fromText(text).replace(/\\(?:x([0-9a-fA-F]{2})|\\)/g, (_, hex: string | undefined) =>
    hex === undefined ? '\\' : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return bytes
    .split('/')
    .filter((name) => name !== '' && name !== '.')
    .join('/') as ByteString;
}
