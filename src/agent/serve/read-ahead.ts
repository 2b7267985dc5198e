// Recognizes readers that go through a disk in order, several at once and a little out of order, and says what they will ask for next.

/** A request this far behind or before the furthest one still belongs to the same reader: many are on the way at once. */
const BEHIND_BYTES = 16 * 1024 * 1024;
const BEFORE_BYTES = 4 * 1024 * 1024;
/** What a reader has to ask for in order before anything is read ahead of it. */
const TRUST_BYTES = 512 * 1024;
const AHEAD_BYTES = 8 * 1024 * 1024;
/** Readers of one connection that are told from each other. */
const MAX_READERS = 4;

/** One reader that goes through the disk. */
export interface SequentialReader {
  /** The end of the furthest request. */
  next: number;
  /** What it has asked for in order, as far as it matters. */
  inOrderBytes: number;
  /** Up to here is read ahead. */
  fetched: number;
  /** Whether somebody is reading ahead for it just now. */
  isBusy: boolean;
}

export class ReadAhead {
  /** The one that asked last is the last. */
  readonly #readers: SequentialReader[] = [];

  /** Notes a request; returns its reader when something should be read ahead of it. */
  note(offset: number, length: number): SequentialReader | undefined {
    const end = offset + length;
    const place = this.#readers.findIndex(
      (reader) => offset >= reader.next - BEHIND_BYTES && offset <= reader.next + BEFORE_BYTES,
    );
    const reader = this.#readers.splice(place < 0 ? this.#readers.length : place, 1)[0] ?? {
      next: end,
      inOrderBytes: 0,
      fetched: end,
      isBusy: false,
    };
    this.#readers.push(reader);
    if (this.#readers.length > MAX_READERS) this.#readers.shift();
    reader.next = Math.max(reader.next, end);
    reader.fetched = Math.max(reader.fetched, reader.next);
    reader.inOrderBytes = Math.min(reader.inOrderBytes + length, TRUST_BYTES);
    return reader.inOrderBytes >= TRUST_BYTES && reader.fetched < reader.next + AHEAD_BYTES ? reader : undefined;
  }

  /** Where reading ahead of it ends for now. */
  static goal(reader: SequentialReader): number {
    return reader.next + AHEAD_BYTES;
  }
}
