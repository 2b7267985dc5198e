// Ids that a thread need not ask about again: a bounded memory that forgets what was not used for long, in two generations.
const GENERATION = 50_000;

export class KnownIds {
  #young = new Set<string>();
  #old = new Set<string>();

  has(id: string): boolean {
    if (this.#young.has(id)) return true;
    if (!this.#old.has(id)) return false;
    this.add(id);
    return true;
  }

  add(id: string): void {
    if (this.#young.size >= GENERATION) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(id);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
