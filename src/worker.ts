// The program of a worker thread, and its composition root: one arena, the datastore's thread or that of a server's client, and the agent's on
// top of it.
import { AgentThread, MAX_PIECE_BYTES } from './agent/agent-thread.ts';
import { compressBound } from './chunker/zstd.ts';
import { WriteBuffers } from './datastore/packs/write-buffers.ts';
import { RecordFetcher } from './datastore/record-fetcher.ts';
import { StoreThread, type StoreThreadInit } from './datastore/store-thread.ts';
import type { RemoteJoin } from './transport/client/hub-messages.ts';
import { RemoteThread } from './transport/client/remote-thread.ts';
import type { BulkListen } from './transport/server/bulk-thread.ts';
import { Arena } from './util/arena.ts';
import { plainError } from './util/plain-error.ts';
import { SharedBuffers } from './util/shared-buffers.ts';
import { announce, type Handlers, serveCalls } from './util/worker-pool.ts';

/** The longest record that is encoded in place: the largest piece with its headers. */
const RECORD_MARGIN_BYTES = compressBound(MAX_PIECE_BYTES) + 4096;

const arena = new Arena(
  65536 + WriteBuffers.arenaBytes(RECORD_MARGIN_BYTES) + AgentThread.arenaBytes + RecordFetcher.bufferBytes + 2 * 4096,
);
const writeBuffers = new WriteBuffers(arena, RECORD_MARGIN_BYTES);
const readBuffer = arena.allocate(RecordFetcher.bufferBytes);

let shared: SharedBuffers | undefined;
let store: StoreThread | undefined;
let remote: RemoteThread | undefined;
const joined = (): StoreThread => {
  if (store === undefined) throw new Error('this thread has not joined a datastore');
  return store;
};

const agent = new AgentThread(
  {
    sink: (sessionId) => remote?.sink(sessionId) ?? joined().sink(sessionId),
    fetcher: (space) => remote?.fetcher(space) ?? new RecordFetcher(joined().source, space, readBuffer),
  },
  arena,
);

const handlers: Handlers = {
  ...agent.handlers(),
  'store.listen': (channelName: string) => {
    shared?.close();
    shared = new SharedBuffers(channelName);
  },
  'store.join': (init: StoreThreadInit) => {
    store?.close();
    store = new StoreThread(
      init,
      shared as SharedBuffers,
      arena,
      { buffers: writeBuffers, readBuffer: readBuffer.bytes },
      (entry) => announce('store.quarantined', entry),
    );
    Object.assign(handlers, store.handlers());
  },
  'bulk.listen': async (listen: BulkListen) => {
    // With TLS and HTTP, which threads of a command do without.
    const { BulkThread } = await import('./transport/server/bulk-thread.ts');
    const bulk = new BulkThread(
      { sink: (session) => joined().sink(session), reader: (session) => joined().reader(session) },
      (error) => announce('bulk.failed', plainError(error)),
    );
    Object.assign(handlers, bulk.handlers());
    handlers['bulk.listen']?.(listen as never);
  },
  'remote.join': (join: RemoteJoin) => {
    remote = new RemoteThread(arena.bytes);
    Object.assign(handlers, remote.handlers({ ...handlers }));
    handlers['remote.join']?.(join as never);
  },
};

serveCalls(handlers, () => remote?.settle());
