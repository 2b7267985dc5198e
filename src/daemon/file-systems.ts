// How large file systems are and what is free of them, asked beside the event loop: a disk that does not answer keeps one thread, is unknown
// after a moment, and holds up nobody else.
import { setTimeout } from 'node:timers/promises';
import { askSpace, type FileSystemSpace } from '../datastore/limits/low-space.ts';

/** Whoever scrapes figures waits some seconds. */
const PATIENCE_MS = 1000;

export class FileSystems {
  readonly #ask: (path: string) => Promise<FileSystemSpace>;
  readonly #patienceMs: number;
  /** Questions that wait for their answer: there is one of a path at most. */
  readonly #asked = new Map<string, Promise<FileSystemSpace | undefined>>();

  constructor(ask: (path: string) => Promise<FileSystemSpace> = askSpace, patienceMs = PATIENCE_MS) {
    this.#ask = ask;
    this.#patienceMs = patienceMs;
  }

  /** Undefined where nobody can tell, or not now. */
  async space(path: string): Promise<FileSystemSpace | undefined> {
    let asked = this.#asked.get(path);
    if (asked === undefined) {
      asked = this.#ask(path)
        .catch(() => undefined)
        .finally(() => this.#asked.delete(path));
      this.#asked.set(path, asked);
    }
    const answered = new AbortController();
    const late = setTimeout(this.#patienceMs, undefined, { signal: answered.signal }).catch(() => undefined);
    try {
      return await Promise.race([asked, late]);
    } finally {
      answered.abort();
    }
  }
}
