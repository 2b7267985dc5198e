// Which ids the threads of a session have put so far, by their first eight bytes, in memory that all of them share. Where nothing is in scope
// at a server, an id that nobody here has put need not be asked about.
import { ID_BYTES } from '../../chunker/object.ts';

/** 4 MiB, touched as it fills: the chunks of some 24 GiB. */
const SLOTS = 2 ** 19;
/** An id that finds no place in so many counts as put: it is asked about, which is slower and never wrong. */
const MOST_PROBES = 16;
const EMPTY = 0n;

export class SentIds {
  readonly buffer: SharedArrayBuffer;
  readonly #slots: BigInt64Array;

  constructor(buffer = new SharedArrayBuffer(SLOTS * 8)) {
    this.buffer = buffer;
    this.#slots = new BigInt64Array(buffer);
  }

  /** Notes the id; whether nobody had put it before. Of two threads at once one hears so. Where it is full, nothing is new. */
  isNew(id: Uint8Array): boolean {
    const view = new DataView(id.buffer, id.byteOffset, ID_BYTES);
    const word = view.getBigInt64(0, true) || 1n;
    let slot = view.getUint32(8, true) % SLOTS;
    for (let probe = 0; probe < MOST_PROBES; probe++) {
      const found = Atomics.compareExchange(this.#slots, slot, EMPTY, word);
      if (found === EMPTY) return true;
      if (found === word) return false;
      slot = (slot + 1) % SLOTS;
    }
    return false;
  }
}
