// What the bulk calls need of the objects, wherever they are: the interface beside its consumer.

/** One thread's hand in a backup session. */
export interface RecordSink {
  /** Goes on finding what is in scope for about so long; whether all of it is known. The rest is called when it is. */
  prepare(budgetMs: number): boolean;
  /** Checks and stores a record, and keeps no view on it. @throws `object-damaged`, `out-of-scope`, `too-large` and what the disk says. */
  putRecord(record: Uint8Array): unknown;
  /** Sets bit `place % 8` of byte `place / 8` for each id of those from `first` to `end` that may be named. */
  markKnown(ids: Uint8Array, first: number, end: number, bits: Uint8Array): void;
}

/** One thread's way to what a session may read. */
export interface RecordReader {
  /** As of a sink, for ids that may be read. */
  markKnown(ids: Uint8Array, first: number, end: number, bits: Uint8Array): void;
  /** Frames `u32 length, record` for the ids from `first` on, at least one and about `maxBytes`; `next` is the first id that is not in it. */
  read(ids: Uint8Array, first: number, maxBytes: number): { readonly bytes: Uint8Array; readonly next: number };
}

/** @throws when the session is not open in this thread. */
export interface BulkObjects {
  sink(session: string): RecordSink;
  reader(session: string): RecordReader;
}
