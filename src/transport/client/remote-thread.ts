// A worker thread's sessions at servers: sinks of backups, fetchers of spaces, and the calls of the main thread that concern them.
import type { ObjectId } from '../../chunker/object.ts';
import type { Handlers } from '../../util/worker-pool.ts';
import { HubLink } from './hub-link.ts';
import type { RemoteJoin } from './hub-messages.ts';
import { RemoteFetcher } from './remote-fetcher.ts';
import { RemoteSink } from './remote-sink.ts';

interface PutWork {
  readonly session: string;
  readonly kind: number;
  readonly refs: Uint8Array;
  readonly payload: Uint8Array;
}

export class RemoteThread {
  readonly #memory: Uint8Array;
  readonly #sinks = new Map<string, RemoteSink>();
  readonly #fetchers = new Map<string, { readonly space: number; readonly fetcher: RemoteFetcher }>();

  /** `memory` is the thread's whole memory. */
  constructor(memory: Uint8Array) {
    this.#memory = memory;
  }

  sink(session: string): RemoteSink | undefined {
    return this.#sinks.get(session);
  }

  /** The reader of a space that was opened last. */
  fetcher(space: number): RemoteFetcher | undefined {
    return [...this.#fetchers.values()].findLast((each) => each.space === space)?.fetcher;
  }

  /** Before a call is answered: what it names is on its way. */
  settle(): void {
    for (const sink of this.#sinks.values()) sink.settle();
  }

  /** `local` answers for what is at no server. */
  handlers(local: Handlers): Handlers {
    const or =
      <Argument, Result>(method: string, remote: (argument: Argument) => Result | undefined) =>
      (argument: Argument, lane?: number): unknown => {
        const result = remote(argument);
        if (result !== undefined) return result;
        const handler = local[method];
        if (handler === undefined) throw new Error(`no server is joined for ${method}`);
        return handler(argument as never, lane);
      };
    return {
      'remote.join': (join: RemoteJoin) => this.#join(join),
      'remote.leave': (session: string) => this.#leave(session),
      'remote.beThorough': (session: string) => this.#sinks.get(session)?.beThorough(),
      'store.put': or('store.put', ({ session, kind, refs, payload }: PutWork) =>
        this.sink(session)?.put(kind, refs, payload),
      ),
      'store.get': or('store.get', ({ session, id }: { session: string; id: Uint8Array }) =>
        this.sink(session)?.get(Buffer.from(id) as ObjectId),
      ),
      'store.read': or('store.read', ({ space, id }: { space: number; id: Uint8Array }) =>
        this.fetcher(space)?.get(Buffer.from(id) as ObjectId),
      ),
      'store.takeCounters': or('store.takeCounters', (session: string) => this.sink(session)?.takeCounters()),
    };
  }

  #join(join: RemoteJoin): void {
    const link = new HubLink(join);
    if (join.kind === 'backup') this.#sinks.set(join.session, new RemoteSink(join, link, this.#memory));
    else this.#fetchers.set(join.session, { space: join.space, fetcher: new RemoteFetcher(join, link) });
  }

  #leave(session: string): void {
    this.#sinks.get(session)?.close();
    this.#sinks.delete(session);
    this.#fetchers.get(session)?.fetcher.close();
    this.#fetchers.delete(session);
  }
}
