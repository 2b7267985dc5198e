// The files of the logs, and of long results beside them: 256 folders, so that none holds all of them. A name is made of a UPID's numbers and type; worker ids are too
// long for one, and come from outside.
import { open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { parseUpid } from '../../schema/upid.ts';
import { systemCode } from '../../util/errors.ts';
import type { LineIndex } from './line-index.ts';
import { logLines } from './log-line.ts';
import { indexLog, readLines } from './read-log.ts';
import type { LogLine } from './task.ts';

/** Ended logs whose lines are counted already. */
const MAX_INDEXED = 64;
const NEWLINE = 0x0a;

export class LogFiles {
  readonly #directory: string;
  /** Least lately used first. */
  readonly #indexes = new Map<string, LineIndex>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  pathOf(upid: string): string {
    const [, , pid, pstart, taskId, starttime] = upid.split(':');
    return join(
      this.#directory,
      taskId.slice(-2),
      `${starttime}-${pid}-${pstart}-${taskId}-${parseUpid(upid).type}.log`,
    );
  }

  /** What the task leaves behind, when that is long. */
  dataPathOf(upid: string): string {
    return this.pathOf(upid).replace(/\.log$/, '.json');
  }

  /** A page of the log of a task that has ended; undefined when the file is gone or cannot be read. */
  async page(upid: string, start: number, limit: number): Promise<{ lines: LogLine[]; total: number } | undefined> {
    const path = this.pathOf(upid);
    try {
      const index = this.#indexes.get(upid) ?? (await indexLog(path));
      this.#indexes.delete(upid);
      this.#indexes.set(upid, index);
      if (this.#indexes.size > MAX_INDEXED) this.#indexes.delete(this.#indexes.keys().next().value as string);
      return { lines: await readLines(path, index, start, limit), total: index.lines };
    } catch (error) {
      if (systemCode(error) !== undefined) return undefined;
      throw error;
    }
  }

  /**
   * Ends the log of a task whose process died, on a line of its own. Returns when the log was last written to, in milliseconds, or undefined
   * without one.
   */
  async interrupted(upid: string, nowMs: number, text: string): Promise<number | undefined> {
    let file: Awaited<ReturnType<typeof open>>;
    try {
      file = await open(this.pathOf(upid), 'r+');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const { size, mtimeMs } = await file.stat();
      const last = Buffer.alloc(1);
      const { bytesRead } = size === 0 ? { bytesRead: 0 } : await file.read(last, 0, 1, size - 1);
      const begin = bytesRead === 1 && last[0] !== NEWLINE ? '\n' : '';
      await file.write(`${begin}${logLines(nowMs, text).join('')}`, size);
      return mtimeMs;
    } finally {
      await file.close();
    }
  }

  async remove(upid: string): Promise<void> {
    this.#indexes.delete(upid);
    for (const path of [this.dataPathOf(upid), this.pathOf(upid)])
      try {
        await unlink(path);
      } catch (error) {
        if (!['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw error;
      }
  }
}
