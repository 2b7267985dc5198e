// A line of a task's log: the local time with its offset, and a text that stays on one line and within bounds.

/** Bytes of one line, with time and newline. What is longer is cut, and says so. */
export const MAX_LINE_BYTES = 4096;
/** Lines that one text may become. */
const MAX_LINES_OF_A_TEXT = 1000;
const ROOM_FOR_CUT = 64;

/** The lines of a text, each with its newline. */
export function logLines(timeMs: number, text: string): string[] {
  const time = localTime(timeMs);
  const parts = text.split(/\r?\n/, MAX_LINES_OF_A_TEXT + 1);
  const cut = parts.length > MAX_LINES_OF_A_TEXT;
  const lines = parts.slice(0, MAX_LINES_OF_A_TEXT).map((part) => `${time}: ${bounded(part)}\n`);
  return cut ? [...lines, `${time}: … (more lines of this text were left out)\n`] : lines;
}

/** `2026-11-21T01:21:51+01:00`: the time of the zone that the process is in. */
export function localTime(timeMs: number): string {
  const offsetMinutes = -new Date(timeMs).getTimezoneOffset();
  const shifted = new Date(timeMs + offsetMinutes * 60_000).toISOString().slice(0, 19);
  const [hours, minutes] = [Math.floor(Math.abs(offsetMinutes) / 60), Math.abs(offsetMinutes) % 60];
  return `${shifted}${offsetMinutes < 0 ? '-' : '+'}${twoDigits(hours)}:${twoDigits(minutes)}`;
}

/** The text on one line: control characters, which a terminal would obey, are shown as escapes. */
export function bounded(text: string, maxBytes: number = MAX_LINE_BYTES - ROOM_FOR_CUT): string {
  // Escapes are up to six characters for one.
  const shown = text.slice(0, maxBytes + 1).replace(/[\p{Cc}\u2028\u2029]/gu, (char) => {
    return char === '\t' ? ' ' : `\\u${char.codePointAt(0)?.toString(16).padStart(4, '0')}`;
  });
  const bytes = Buffer.from(shown, 'utf8');
  if (bytes.length <= maxBytes) return shown;
  // A character that the cut parts is dropped.
  const kept = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(0, maxBytes - 12), { stream: true });
  return `${kept} … (cut)`;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}
