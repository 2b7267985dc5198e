// Opens directories below a top by stepping down from it, never through a symbolic link and never by a path that could grow too long. The way
// to the directory opened last stays open, for the next one is mostly its neighbour.
import type { ByteString } from '../../util/byte-string.ts';
import type { FileCalls } from './file-calls.ts';

/** Descriptors kept for the way down; deeper ones are closed as the step below them is open. */
const MAX_KEPT = 64;

interface Step {
  readonly name: string;
  readonly fd: number;
}

export class OpenDirectories {
  readonly #calls: FileCalls;
  readonly #top: number;
  readonly #flags: number;
  readonly #way: Step[] = [];
  #deep: number | undefined;

  /** `top` stays the caller's; `flags` are those of `open`. */
  constructor(calls: FileCalls, top: number, flags: number) {
    this.#calls = calls;
    this.#top = top;
    this.#flags = flags;
  }

  /** A descriptor of the directory at `path` (empty: the top), valid until the next call; or -errno. */
  open(path: ByteString): number {
    this.#closeDeep();
    const names = path === '' ? [] : path.split('/');
    let kept = 0;
    while (kept < this.#way.length && kept < names.length && this.#way[kept]?.name === names[kept]) kept++;
    for (const { fd } of this.#way.splice(kept)) this.#calls.close(fd);
    let fd = this.#way.at(-1)?.fd ?? this.#top;
    for (const name of names.slice(kept)) {
      const next = this.#calls.open(fd, name as ByteString, this.#flags, 0);
      this.#closeDeep();
      if (next < 0) return next;
      if (this.#way.length < MAX_KEPT) this.#way.push({ name, fd: next });
      else this.#deep = next;
      fd = next;
    }
    return fd;
  }

  close(): void {
    this.#closeDeep();
    for (const { fd } of this.#way.splice(0)) this.#calls.close(fd);
  }

  #closeDeep(): void {
    if (this.#deep !== undefined) this.#calls.close(this.#deep);
    this.#deep = undefined;
  }
}
