// Where clients of the object protocol reach the datastores: for each that is open a listener for records, and its sessions.
import { BulkListener } from '../transport/server/bulk-listener.ts';
import type { TransportSessions } from '../transport/server/sessions.ts';
import type { ServerCertificate } from './certificate.ts';
import type { OpenDatastore } from './open-store.ts';

export interface ClientsOptions {
  readonly sessions: TransportSessions;
  readonly host: string;
  /** The port of the first datastore; others take those behind it. 0 takes any free ones. */
  readonly firstPort: number;
  /** Datastores that there are: the ports of others are free. */
  readonly names: () => readonly string[];
  readonly certificate: () => ServerCertificate;
  /** Another descriptor of the same socket, or a negative errno. */
  readonly duplicate: (fd: number) => number;
  readonly report: (error: unknown) => void;
}

export class Clients {
  readonly #options: ClientsOptions;
  readonly #listeners = new Set<BulkListener>();
  /** Which port a datastore has, counted from the first: it keeps it as long as it is there and the server runs. */
  readonly #places: string[] = [];

  constructor(options: ClientsOptions) {
    this.#options = options;
  }

  /** Gives the datastores that are there their ports, in order. */
  reserve(): void {
    for (const name of this.#options.names()) this.#place(name);
  }

  /** Lets clients reach a datastore. Returns what ends that, sessions first. @throws `bad-argument` when its port cannot be used. */
  async serve({ name, store, pool }: OpenDatastore): Promise<() => Promise<void>> {
    const { sessions, host, firstPort, certificate, duplicate, report } = this.#options;
    const port = firstPort === 0 ? 0 : firstPort + this.#place(name);
    const { cert, key } = certificate();
    const listener = await BulkListener.start({
      pool,
      address: host,
      port,
      certificate: { cert, key },
      duplicate,
      report,
    });
    this.#listeners.add(listener);
    sessions.addStore({ name, store, pool, bulkPort: listener.port });
    return async () => {
      await sessions.removeStore(name);
      this.#listeners.delete(listener);
      await listener.stop();
    };
  }

  /** Connections from now on get the certificate of now. */
  async secure(): Promise<void> {
    const { cert, key } = this.#options.certificate();
    for (const listener of this.#listeners) await listener.secure({ cert, key });
  }

  #place(name: string): number {
    const known = this.#places.indexOf(name);
    if (known >= 0) return known;
    const names = this.#options.names();
    const free = this.#places.findIndex((place) => !names.includes(place));
    const place = free < 0 ? this.#places.length : free;
    this.#places[place] = name;
    return place;
  }
}
