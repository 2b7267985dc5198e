// The log of a running task. Lines are taken at once and written in the background, so that a slow or full log disk never holds up the
// work; what could not be written is counted and said. Size and number of waiting lines are bounded.
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LineIndex } from './line-index.ts';
import { bounded, logLines } from './log-line.ts';

/** Of one log, and of what waits for the disk. The last lines of a task are written beyond it. */
export const MAX_LOG_BYTES = 16 * 1024 * 1024;
const MAX_WAITING_BYTES = 1024 * 1024;
/** What a disk gets to take the last lines. A log on a server that is gone must not keep a task from ending. */
const CLOSE_TIMEOUT_MS = 5000;

export class TaskLog {
  readonly path: string;
  readonly index = new LineIndex();
  readonly #now: () => number;
  readonly #maxBytes: number;
  #file: FileHandle | undefined;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #takenBytes = 0;
  /** Lines that met the limit of size, and lines that the disk did not take. */
  #leftOut = 0;
  #lost = 0;
  #failure: string | undefined;
  #writing: Promise<void> | undefined;
  #isClosed = false;

  constructor(path: string, now: () => number, maxBytes = MAX_LOG_BYTES) {
    this.path = path;
    this.#now = now;
    this.#maxBytes = maxBytes;
  }

  /** Takes a text of one line or more. */
  append(text: string): void {
    for (const line of logLines(this.#now(), text)) {
      const bytes = Buffer.byteLength(line);
      if (this.#takenBytes + bytes > this.#maxBytes) {
        if (this.#leftOut++ === 0)
          this.#take(this.#line(`this log is full (${this.#maxBytes} bytes): what follows is left out`));
      } else if (this.#waitingBytes + bytes > MAX_WAITING_BYTES) this.#lost++;
      else {
        this.#takenBytes += bytes;
        this.#take(line);
      }
    }
  }

  /** What is missing from the file, or undefined. */
  get note(): string | undefined {
    if (this.#lost === 0) return undefined;
    return `${this.#lost} lines could not be written to the log: ${this.#failure ?? 'the disk is too slow'}`;
  }

  /** Returns when all lines so far are in the file, or lost. */
  async flushed(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  /** Writes the last line and closes the file; takes 5 s at most. */
  async close(lastLine: string): Promise<void> {
    if (this.#leftOut > 1) this.#take(this.#line(`${this.#leftOut} lines were left out`));
    this.#take(this.#line(lastLine));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS, 'late');
    });
    const closed = this.flushed().then(() => this.#closeFile());
    if ((await Promise.race([closed, late])) === 'late') {
      this.#lost += Math.max(1, this.#waiting.length);
      this.#failure ??= `the disk did not answer for ${CLOSE_TIMEOUT_MS / 1000} s`;
    }
    clearTimeout(timer);
    this.#isClosed = true;
  }

  async #closeFile(): Promise<void> {
    await this.#file?.close().catch((error: Error) => this.#fail(error, 0));
    this.#file = undefined;
  }

  #line(text: string): string {
    return logLines(this.#now(), bounded(text))[0];
  }

  #take(line: string): void {
    if (this.#isClosed) return;
    this.#waiting.push(line);
    this.#waitingBytes += Buffer.byteLength(line);
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const lines = this.#waiting;
      this.#waiting = [];
      const bytes = Buffer.from(lines.join(''));
      try {
        await this.#writeWhole(bytes);
        this.index.push(bytes);
      } catch (error) {
        this.#fail(error as Error, lines.length);
      }
      this.#waitingBytes -= bytes.length;
    }
    // In the same step as the look at what waits: a line that comes later begins anew.
    this.#writing = undefined;
  }

  /** All of it or nothing: half a line would run into the next one. */
  async #writeWhole(bytes: Buffer): Promise<void> {
    this.#file ??= await this.#open();
    const begin = this.index.bytes;
    try {
      for (let done = 0; done < bytes.length; )
        done += (await this.#file.write(bytes, done, bytes.length - done, begin + done)).bytesWritten;
    } catch (error) {
      await this.#file.truncate(begin).catch(() => undefined);
      throw error;
    }
  }

  async #open(): Promise<FileHandle> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o750 });
    return await open(this.path, 'wx', 0o640);
  }

  #fail(error: Error, lines: number): void {
    this.#lost += lines;
    this.#failure = error.message;
  }
}
