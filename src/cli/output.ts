// How results are shown: aligned text for people, JSON for programs. Binary units, with the exact number of bytes in JSON.

export type OutputFormat = 'text' | 'json' | 'json-pretty';

/** `90500` -> `1 min 31 s`. */
export function formatDuration(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Text for a terminal: what a note or a damaged file holds must not steer it. Line breaks stay. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, '\u{fffd}');
}

/** Prints a value as JSON, or what `text` makes of it. */
export function print<Value>(format: OutputFormat, value: Value, text: (value: Value) => string): void {
  const shown =
    format === 'text' ? text(value) : format === 'json' ? JSON.stringify(value) : JSON.stringify(value, undefined, 2);
  process.stdout.write(shown === '' ? '' : `${format === 'text' ? printable(shown) : shown}\n`);
}

/** Lines of columns, each as wide as its widest cell; columns named in `right` are aligned right. */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  right: ReadonlySet<string> = new Set(),
): string {
  const widths = header.map((name, column) => Math.max(name.length, ...rows.map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        right.has(header[column] as string)
          ? cell.padStart(widths[column] as number)
          : cell.padEnd(widths[column] as number),
      )
      .join('  ')
      .trimEnd();
  return [line(header), ...rows.map(line)].join('\n');
}

/** Name and value pairs, one a line. */
export function pairs(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}
