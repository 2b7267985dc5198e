// What a session has put, what it may name, and what it relies on, shared by all threads: sets of index entries and, per pack, how far.
import { EntrySet } from '../index/entry-set.ts';
import { MAX_PACKS } from '../packs/pack-table.ts';

export interface SessionMarksBuffers {
  readonly puts: SharedArrayBuffer;
  readonly scope: SharedArrayBuffer;
  readonly relied: SharedArrayBuffer;
  readonly complete: SharedArrayBuffer;
}

export class SessionMarks {
  readonly buffers: SessionMarksBuffers;
  /** What the session put, new or hit. */
  readonly puts: EntrySet;
  /** What is known so far to belong to its scope. */
  readonly scope: EntrySet;
  readonly #relied: Int32Array;
  readonly #complete: Int32Array;

  constructor(buffers?: SessionMarksBuffers) {
    this.puts = new EntrySet(buffers?.puts);
    this.scope = new EntrySet(buffers?.scope);
    const relied = buffers?.relied ?? new SharedArrayBuffer(MAX_PACKS * 4);
    this.#relied = new Int32Array(relied);
    const complete = buffers?.complete ?? new SharedArrayBuffer(4);
    this.#complete = new Int32Array(complete);
    this.buffers = { puts: this.puts.buffer, scope: this.scope.buffer, relied, complete };
  }

  /** Whether some thread has found all that is in scope. */
  get scopeIsComplete(): boolean {
    return Atomics.load(this.#complete, 0) === 1;
  }

  noteScopeIsComplete(): void {
    Atomics.store(this.#complete, 0, 1);
  }

  /** Notes that the session put this entry (new or hit) and relies on its pack up to `end`. */
  markPut(entry: number, pack: number, end: number): void {
    this.puts.add(entry);
    this.relyOn(pack, end);
  }

  /** Gives a copy of an object the marks of the copy that it stands for. */
  carryOver(from: number, to: number): void {
    if (this.puts.has(from)) this.puts.add(to);
    if (this.scope.has(from)) this.scope.add(to);
  }

  relyOn(pack: number, end: number): void {
    for (let known = Atomics.load(this.#relied, pack); known < end; known = Atomics.load(this.#relied, pack)) {
      if (Atomics.compareExchange(this.#relied, pack, known, end) === known) return;
    }
  }

  /** The packs that the session relies on, each with the end of the last record it needs there. */
  *relied(packCount: number): Generator<{ pack: number; end: number }> {
    for (let pack = 0; pack < packCount; pack++) {
      const end = Atomics.load(this.#relied, pack);
      if (end > 0) yield { pack, end };
    }
  }
}
