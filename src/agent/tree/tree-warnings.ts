// What of a tree could not be taken as it was: all are counted, the first are shown and kept in the manifest.
import type { ArchiveWarnings } from '../../schema/manifest.ts';

const MAX_KEPT = 100;
const MAX_CHARS = 8192;

export class TreeWarnings {
  readonly #first: string[] = [];
  readonly #show: (message: string) => void;
  #count = 0;

  constructor(show: (message: string) => void) {
    this.#show = show;
  }

  add(message: string): void {
    this.#count++;
    if (this.#first.length === MAX_KEPT) return;
    const kept = message.length > MAX_CHARS ? `${message.slice(0, MAX_CHARS - 1)}…` : message;
    this.#first.push(kept);
    this.#show(kept);
  }

  /** For the manifest; undefined when there are none. */
  finish(): ArchiveWarnings | undefined {
    if (this.#count === 0) return undefined;
    if (this.#count > MAX_KEPT) this.#show(`and ${this.#count - MAX_KEPT} warnings more`);
    return { count: this.#count, first: this.#first };
  }
}
