// Pages of a log, read from the line that is asked for: bounded memory, whatever the size of the file.
import { type FileHandle, open } from 'node:fs/promises';
import { LineIndex } from './line-index.ts';
import type { LogLine } from './task.ts';

/** Bytes of lines in one page: more than 1,000 of the longest. */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/** Counts the lines of a file. A last line without a newline is none: a process died while it wrote. */
export async function indexLog(path: string): Promise<LineIndex> {
  const index = new LineIndex();
  const file = await open(path, 'r');
  try {
    for await (const chunk of chunks(file, 0)) index.push(chunk);
  } finally {
    await file.close();
  }
  return index;
}

/** At most `limit` lines (0: as many as a page takes) from line `start`, counted from 1. */
export async function readLines(path: string, index: LineIndex, start: number, limit: number): Promise<LogLine[]> {
  const first = Math.max(1, start);
  if (first > index.lines) return [];
  const last = limit === 0 ? index.lines : Math.min(index.lines, first + limit - 1);
  const { offset, line } = index.before(first - 1);
  const file = await open(path, 'r');
  try {
    return await collect(chunks(file, offset), line + 1, first, last);
  } finally {
    await file.close();
  }
}

async function collect(parts: AsyncIterable<Buffer>, from: number, first: number, last: number): Promise<LogLine[]> {
  const found: LogLine[] = [];
  let rest: Buffer = Buffer.alloc(0);
  let n = from;
  let pageBytes = 0;
  for await (const part of parts) {
    const bytes = rest.length === 0 ? part : Buffer.concat([rest, part]);
    let begin = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, begin)) {
      if (n >= first) {
        pageBytes += end - begin;
        if (n > last || (pageBytes > MAX_PAGE_BYTES && found.length > 0)) return found;
        found.push({ n, t: bytes.toString('utf8', begin, end) });
      }
      n++;
      begin = end + 1;
    }
    if (n > last) return found;
    rest = Buffer.from(bytes.subarray(begin));
  }
  return found;
}

/** The chunk is used again for the next. */
async function* chunks(file: FileHandle, offset: number): AsyncIterable<Buffer> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let position = offset; ; ) {
    const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    position += bytesRead;
  }
}
