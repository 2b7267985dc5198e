// What a task leaves behind as JSON: in its row when it is short, else in a file beside its log, and cut where even that would be too long.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError, systemCode } from '../../util/errors.ts';

export type TaskData = Readonly<Record<string, unknown>>;

const MAX_ROW_CHARS = 64 * 1024;
/** More than a verification reports, and half of what a client takes as one answer. */
const MAX_FILE_CHARS = 32 * 1024 * 1024;
const IN_FILE = { inFile: true } as const;
const TOO_LARGE = { tooLarge: true } as const;

/** Returns what the row takes. With `leftOut` data say how many entries of their lists had to go. Never throws: without room it is `tooLarge`. */
export async function keepData(path: string, data: TaskData, maxFileChars = MAX_FILE_CHARS): Promise<TaskData> {
  const whole = JSON.stringify(data);
  if (whole.length <= MAX_ROW_CHARS) return data;
  const text = whole.length <= maxFileChars ? whole : cut(whole, maxFileChars);
  if (text === undefined) return TOO_LARGE;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeFile(path, text, { mode: 0o600 });
    return IN_FILE;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return TOO_LARGE;
  }
}

/** What `keepData` kept. @throws `too-large` when that was nothing, or the file is gone or half written. */
export async function readData(path: string, row: TaskData | null): Promise<TaskData> {
  if (row === null) return {};
  if ('inFile' in row) {
    try {
      return JSON.parse(await readFile(path, 'utf8')) as TaskData;
    } catch (error) {
      if (systemCode(error) === undefined && !(error instanceof SyntaxError)) throw error;
    }
  } else if (!('tooLarge' in row)) return row;
  throw new HoldfastError('too-large', 'the result is longer than the task could keep; look at its log');
}

/** Halves the list with the most entries until it fits; undefined when lists are not what makes it long. */
function cut(whole: string, max: number): string | undefined {
  const data = JSON.parse(whole) as Record<string, unknown>;
  for (let leftOut = 0; ; ) {
    const list = longestList(data);
    if (list === undefined || list.length < 2) return undefined;
    const left = Math.floor(list.length / 2);
    leftOut += list.length - left;
    list.length = left;
    const text = JSON.stringify({ ...data, leftOut });
    if (text.length <= max) return text;
  }
}

function longestList(value: unknown): unknown[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  let longest = Array.isArray(value) ? value : undefined;
  for (const each of Object.values(value)) {
    const inside = longestList(each);
    if (inside !== undefined && inside.length > (longest?.length ?? 0)) longest = inside;
  }
  return longest;
}
