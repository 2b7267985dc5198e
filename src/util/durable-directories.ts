// Creates directories and knows which of them are durable: a name that nobody fsynced since it was made may be gone after a
// power cut, whoever made it, so every ancestor not known durable in this process is synced (rule D6).
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from './atomic-file.ts';
import { systemCode } from './errors.ts';

export class DurableDirectories {
  readonly #root: string;
  readonly #durable = new Set<string>();

  /** `root` exists and is durable; only directories below it are handled. */
  constructor(root: string) {
    this.#root = root;
    this.#durable.add(root);
  }

  /** Makes `path` exist. It is durable only after `sync`. */
  async create(path: string): Promise<void> {
    if (path === this.#root) return;
    await this.create(dirname(path));
    try {
      await mkdir(path, { mode: 0o750 });
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error;
    }
  }

  /** Syncs `path`, so that names in it are durable, and every ancestor that is not known durable. */
  async sync(path: string): Promise<void> {
    await syncDirectory(path);
    for (let at = path; !this.#durable.has(at); at = dirname(at)) {
      await syncDirectory(dirname(at));
      this.#durable.add(at);
    }
  }

  /** Call when a directory was removed. */
  forget(path: string): void {
    this.#durable.delete(path);
  }
}
