// The kinds of jobs that there are. Whoever can run something registers it here; the scheduler knows none of them.
import { HoldfastError } from '../../util/errors.ts';
import type { JobKind } from './job.ts';

const NAME = /^[a-z][a-z0-9-]{0,31}$/;

export class JobKinds {
  readonly #kinds = new Map<string, JobKind>();

  constructor(kinds: readonly JobKind[] = []) {
    for (const kind of kinds) this.register(kind);
  }

  /** @throws `exists`, `bad-name`. */
  register(kind: JobKind): void {
    if (!NAME.test(kind.name)) throw new HoldfastError('bad-name', `${kind.name} is no name of a kind of jobs`);
    if (this.#kinds.has(kind.name)) throw new HoldfastError('exists', `there is a kind of jobs ${kind.name} already`);
    this.#kinds.set(kind.name, kind);
  }

  get names(): string[] {
    return [...this.#kinds.keys()];
  }

  find(name: string): JobKind | undefined {
    return this.#kinds.get(name);
  }

  /** @throws `bad-argument` that names those there are. */
  get(name: string): JobKind {
    const kind = this.#kinds.get(name);
    if (kind !== undefined) return kind;
    throw new HoldfastError(
      'bad-argument',
      `${JSON.stringify(name.slice(0, 40))} is no kind of jobs: take ${this.names.join(', ')}`,
    );
  }
}
