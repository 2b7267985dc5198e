// What a session has put, what it may name, and what it relies on, shared by all threads: bitmaps over index entries and, per
// pack, how far. The buffers are as large as the store may ever be and cost memory only where they are touched.
import { MAX_ENTRIES } from '../index/index-tables.ts';
import { MAX_PACKS } from '../packs/pack-table.ts';

export interface SessionMarksBuffers {
  readonly puts: SharedArrayBuffer;
  readonly scope: SharedArrayBuffer;
  readonly relied: SharedArrayBuffer;
}

export class SessionMarks {
  readonly buffers: SessionMarksBuffers;
  readonly #puts: Int32Array;
  readonly #scope: Int32Array;
  readonly #relied: Int32Array;

  constructor(
    buffers: SessionMarksBuffers = {
      puts: new SharedArrayBuffer(MAX_ENTRIES / 8),
      scope: new SharedArrayBuffer(MAX_ENTRIES / 8),
      relied: new SharedArrayBuffer(MAX_PACKS * 4),
    },
  ) {
    this.buffers = buffers;
    this.#puts = new Int32Array(buffers.puts);
    this.#scope = new Int32Array(buffers.scope);
    this.#relied = new Int32Array(buffers.relied);
  }

  /** Notes that the session put this entry (new or hit) and relies on its pack up to `end`. */
  markPut(entry: number, pack: number, end: number): void {
    Atomics.or(this.#puts, entry >>> 5, 1 << (entry & 31));
    this.relyOn(pack, end);
  }

  /** Whether this session put the entry. */
  isPut(entry: number): boolean {
    return (Atomics.load(this.#puts, entry >>> 5) & (1 << (entry & 31))) !== 0;
  }

  /** Notes that the entry belongs to the session's scope. */
  markScope(entry: number): void {
    Atomics.or(this.#scope, entry >>> 5, 1 << (entry & 31));
  }

  isInScope(entry: number): boolean {
    return (Atomics.load(this.#scope, entry >>> 5) & (1 << (entry & 31))) !== 0;
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
