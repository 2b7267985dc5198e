// How large file systems are and what is free of them, asked beside the event loop: a disk that does not answer keeps one thread, is unknown
// after a moment, and holds up nobody else.
import { askSpace, type FileSystemSpace } from '../datastore/limits/low-space.ts';
import { Questions } from '../util/questions.ts';

/** Whoever scrapes figures waits some seconds. */
const PATIENCE_MS = 1000;

export class FileSystems {
  readonly #ask: (path: string) => Promise<FileSystemSpace>;
  readonly #questions: Questions<FileSystemSpace | undefined>;

  constructor(ask: (path: string) => Promise<FileSystemSpace> = askSpace, patienceMs = PATIENCE_MS) {
    this.#ask = ask;
    this.#questions = new Questions(patienceMs);
  }

  /** Undefined where nobody can tell, or not now. */
  async space(path: string): Promise<FileSystemSpace | undefined> {
    return await this.#questions.within(path, () => this.#ask(path).catch(() => undefined));
  }
}
