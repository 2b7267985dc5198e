// One thread's way to the objects of a server, for a restore: batches of records, the next one asked for while one is decoded.
import { createCodec } from '../../chunker/create-codec.ts';
import type { ObjectId, StoredObject } from '../../chunker/object.ts';
import type { ObjectCodec } from '../../chunker/object-codec.ts';
import { eachFrame } from './frames.ts';
import type { HubLink } from './hub-link.ts';
import type { RemoteJoin } from './hub-messages.ts';
import { readObject } from './remote-sink.ts';
import { AREAS } from './shared-room.ts';

/** Ids of one batch: some 2 MiB of chunks of the usual size, and at most 32 of the largest. */
const BATCH_IDS = 32;

export class RemoteFetcher {
  readonly codec: ObjectCodec;
  readonly #link: HubLink;

  constructor({ key }: RemoteJoin, link: HubLink) {
    this.codec = createCodec(key);
    this.#link = link;
  }

  /** Reads and checks an object. @throws `object-missing`, `object-damaged`. */
  get(id: ObjectId): StoredObject {
    return readObject(this.#link, this.codec, id);
  }

  /** Records in the order of `ids`; undefined for one that the server does not have, or not in good order. */
  fetch(ids: readonly Uint8Array[], deliver: (place: number, record: Uint8Array | undefined) => void): void {
    const most = Math.min(BATCH_IDS, this.#link.getIds);
    const ask = (first: number): number | undefined =>
      first < ids.length
        ? this.#link.ask('get', Buffer.concat(ids.slice(first, first + most)), (first / most) % AREAS)
        : undefined;
    let next = ask(0);
    try {
      for (let first = 0; next !== undefined; first += most) {
        const current = next;
        next = ask(first + most);
        const frames = this.#link.answer(current);
        let place = first;
        for (const { record } of eachFrame(frames)) deliver(place++, record.length === 0 ? undefined : record);
      }
    } finally {
      // Whoever stops in the middle leaves a question behind.
      if (next !== undefined) this.#link.forget(next);
    }
  }

  close(): void {
    this.#link.close();
  }
}
