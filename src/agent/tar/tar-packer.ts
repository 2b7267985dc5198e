// Puts members together into an archive with tar-stream, and hands it on as its taker can. The pax header before a member is ours: the package
// writes values as text, and names and extended attributes are bytes.
import { once } from 'node:events';
import { type Pack, pack } from 'tar-stream';
import type { EncodedMember } from './write-member.ts';

/** Where the data of one member goes. */
type Sink = ReturnType<Pack['entry']>;

const NOTHING = Buffer.alloc(0);

export class TarPacker {
  readonly #pack = pack();
  readonly #handedOn: Promise<void>;
  #entry: { readonly sink: Sink; readonly ended: Promise<void>; left: number } | undefined;

  /** `write` is called with all bytes of the archive in order, one call after the other. */
  constructor(write: (bytes: Uint8Array) => Promise<void>) {
    this.#handedOn = this.#handOn(write);
    // Whoever waits for an entry, or for the end, hears of it.
    this.#handedOn.catch(() => undefined);
  }

  /** Begins a member; all data of the one before was given. */
  async begin({ pax, header, map, dataBytes }: EncodedMember): Promise<void> {
    if (pax.length > 0) this.#pack.push(pax);
    if (header.size === 0) {
      await new Promise<void>((resolve, reject) => {
        this.#pack.entry({ ...header }, NOTHING, (error) => (error ? reject(error) : resolve()));
      });
      return;
    }
    let sink: Sink | undefined;
    const ended = new Promise<void>((resolve, reject) => {
      sink = this.#pack.entry({ ...header }, (error) => (error ? reject(error) : resolve()));
    });
    ended.catch(() => undefined);
    this.#entry = { sink: sink as Sink, ended, left: map.length + dataBytes };
    if (map.length > 0) await this.data(map);
  }

  /** The next bytes of the member, as many as it is long in all. */
  async data(bytes: Uint8Array): Promise<void> {
    const entry = this.#entry;
    if (entry === undefined || bytes.length > entry.left) throw new Error('a tar member has more data than its size');
    entry.left -= bytes.length;
    if (!entry.sink.write(bytes) && entry.left > 0) await Promise.race([once(entry.sink, 'drain'), entry.ended]);
    if (entry.left > 0) return;
    entry.sink.end(undefined);
    this.#entry = undefined;
    await entry.ended;
  }

  /** The end of the archive, and all of it handed on. */
  async finish(): Promise<void> {
    this.#pack.finalize();
    await this.#handedOn;
  }

  /** Nothing more of it is wanted. */
  discard(): void {
    this.#pack.destroy();
  }

  async #handOn(write: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    for await (const bytes of this.#pack) await write(bytes as Uint8Array);
  }
}
