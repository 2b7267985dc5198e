// The entries of a directory from the first to the last, with parts that are left out. Holds one part.
import type { DirectoryEntry, DirectoryPart } from '../../../chunker/directory.ts';

/** Reads a part; `next` is the one after it. */
type LoadPart = (part: DirectoryPart, next: DirectoryPart | undefined) => Promise<readonly DirectoryEntry[]>;

export class EntryCursor {
  readonly #parts: readonly DirectoryPart[];
  readonly #load: LoadPart;
  #entries: readonly DirectoryEntry[];
  #leftOut: ReadonlySet<string> = new Set();
  #at = 0;
  #part = 0;

  constructor(entries: readonly DirectoryEntry[], parts: readonly DirectoryPart[], load: LoadPart) {
    this.#entries = entries;
    this.#parts = parts;
    this.#load = load;
  }

  get partIds(): string[] {
    return this.#parts.map(({ id }) => id.toString('latin1'));
  }

  leaveOut(parts: ReadonlySet<string>): void {
    this.#leftOut = parts;
  }

  /** Undefined at the end of what is loaded. */
  get head(): DirectoryEntry | undefined {
    return this.#entries[this.#at];
  }

  next(): void {
    this.#at++;
  }

  /** The next entry, from the next part where needed; undefined at the end. */
  async load(): Promise<DirectoryEntry | undefined> {
    while (this.head === undefined && this.#part < this.#parts.length) {
      const part = this.#parts[this.#part++] as DirectoryPart;
      if (this.#leftOut.has(part.id.toString('latin1'))) continue;
      this.#entries = await this.#load(part, this.#parts[this.#part]);
      this.#at = 0;
    }
    return this.head;
  }
}
