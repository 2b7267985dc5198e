// A worker thread's view of an open datastore: the shared index and pack table, its own reader, write buffers and the sinks of the
// sessions that write through it. The handlers are what the datastore's main thread calls.
import type { ObjectId } from '../chunker/object.ts';
import type { ObjectKey } from '../chunker/object-codec.ts';
import type { Arena } from '../util/arena.ts';
import { HoldfastError } from '../util/errors.ts';
import type { SharedBuffers } from '../util/shared-buffers.ts';
import type { Handlers } from '../util/worker-pool.ts';
import { GcThread } from './gc/gc-thread.ts';
import { DiskLocator } from './index/disk-locator.ts';
import { EntrySet } from './index/entry-set.ts';
import { ObjectIndex } from './index/object-index.ts';
import { IndexSnapshot } from './index/snapshot-reader.ts';
import { writeIndexSnapshot } from './index/snapshot-writer.ts';
import { Layout } from './layout.ts';
import { IndexLocator, ObjectSource } from './object-source.ts';
import { PackReader } from './packs/pack-reader.ts';
import { PackTable } from './packs/pack-table.ts';
import type { WriteBuffers } from './packs/write-buffers.ts';
import type { ReaderDescriptor } from './sessions/read-session.ts';
import { RecordCheck } from './sessions/received-record.ts';
import { RecordReader } from './sessions/record-reader.ts';
import { type SessionDescriptor, SessionSink, type SinkEnvironment } from './sessions/session-sink.ts';
import { fingerprintOf } from './spaces.ts';
import { VerifyThread } from './verify/verify-thread.ts';

/** What a thread is given when it joins an open datastore. */
export interface StoreThreadInit {
  readonly root: string;
  readonly storeId: string;
  readonly epoch: number;
  readonly packs: SharedArrayBuffer;
  readonly shared: Map<string, SharedArrayBuffer>;
  /** The live set of garbage collection; a reader has none. */
  readonly live: SharedArrayBuffer | undefined;
  /** Descriptor of the index snapshot when the shared index holds only what that does not. */
  readonly snapshot: number | undefined;
  /** Encrypted spaces that the thread may read. */
  readonly keys: readonly SpaceKey[];
}

/** An encrypted space and what reads it. */
export interface SpaceKey {
  readonly space: number;
  readonly key: ObjectKey;
}

export class StoreThread {
  readonly #env: SinkEnvironment;
  readonly #shared: SharedBuffers;
  readonly #gc: GcThread;
  readonly #sinks = new Map<string, SessionSink>();
  readonly #readers = new Map<string, RecordReader>();

  /** `shared` was created in this thread before `init` was made; `report` hears of newly quarantined entries. */
  constructor(
    init: StoreThreadInit,
    shared: SharedBuffers,
    arena: Arena,
    { buffers, readBuffer }: { buffers: WriteBuffers; readBuffer: Uint8Array },
    report: (entry: number) => void,
  ) {
    shared.adopt(init.shared);
    this.#shared = shared;
    const layout = new Layout(init.root);
    const packs = new PackTable(init.packs);
    const locator = new IndexLocator(ObjectIndex.attach(shared), packs, report);
    const storeId = Buffer.from(init.storeId, 'hex');
    const readLocator =
      init.snapshot === undefined ? locator : new DiskLocator(IndexSnapshot.opened(init.snapshot), locator.index);
    const source = new ObjectSource(readLocator, new PackReader(layout, packs), (space) =>
      fingerprintOf(layout, space),
    );
    for (const { space, key } of init.keys) source.unlock(space, key);
    const live = new EntrySet(init.live);
    const check = new RecordCheck();
    const memory = arena.bytes;
    const { epoch } = init;
    this.#env = { layout, packs, locator, source, buffers, memory, epoch, storeId, live, check, readBuffer };
    this.#gc = new GcThread(this.#env);
  }

  /** The thread's hand in an open session. */
  sink(sessionId: string): SessionSink {
    const sink = this.#sinks.get(sessionId);
    if (sink === undefined) throw new HoldfastError('aborted', `session ${sessionId} is not open`);
    return sink;
  }

  /** What a session may read, a backup's scope or what a reader has opened, as records. */
  reader(sessionId: string): RecordReader {
    return this.#readers.get(sessionId) ?? this.sink(sessionId).reader;
  }

  /** Reads objects without a session: restore, list, check. */
  get source(): ObjectSource {
    return this.#env.source;
  }

  close(): void {
    for (const sink of this.#sinks.values()) sink.close();
    this.#sinks.clear();
    this.#readers.clear();
    this.#env.source.packs.close();
  }

  handlers(): Handlers {
    return {
      'store.openSession': (descriptor: SessionDescriptor) => {
        this.#shared.drain();
        this.#sinks.set(descriptor.sessionId, new SessionSink(this.#env, descriptor));
      },
      'store.put': ({
        session,
        kind,
        refs,
        payload,
      }: {
        session: string;
        kind: number;
        refs: Uint8Array;
        payload: Uint8Array;
      }) => this.sink(session).put(kind, refs, payload),
      'store.putRecord': ({ session, record }: { session: string; record: Uint8Array }) =>
        Buffer.from(this.sink(session).putRecord(record)),
      'store.get': ({ session, id }: { session: string; id: Uint8Array }) =>
        this.sink(session).get(Buffer.from(id) as ObjectId),
      'store.have': ({ session, ids }: { session: string; ids: Uint8Array[] }) =>
        this.sink(session).have(ids.map((id) => Buffer.from(id) as ObjectId)),
      'store.read': ({ space, id }: { space: number; id: Uint8Array }) =>
        this.source.get(space, Buffer.from(id) as ObjectId),
      'store.takeCounters': (session: string) => this.sink(session).takeCounters(),
      // Answered only when everything before it has ended: whoever asked knows then that no older look-up is in use here.
      'store.settle': () => this.source.packs.closeDropped(),
      'store.flush': (session: string) => this.sink(session).flush(),
      'store.seal': (session: string) => this.sink(session).seal(),
      'store.barrier': (packs: number[]) => {
        const wanted = new Set(packs);
        for (const sink of this.#sinks.values()) sink.barrier(wanted);
      },
      'store.keepForgotten': ({ session, roots }: { session: string; roots: string[] }) =>
        this.#sinks.get(session)?.keepForgotten(roots),
      'store.closeSession': (session: string) => {
        this.#sinks.get(session)?.close();
        this.#sinks.delete(session);
      },
      'store.openReader': ({ sessionId, space, readable }: ReaderDescriptor) => {
        this.#shared.drain();
        this.#readers.set(sessionId, new RecordReader(this.#env, { space, readable: new EntrySet(readable) }));
      },
      'store.closeReader': (session: string) => {
        this.#readers.delete(session);
      },
      'store.writeIndexSnapshot': () =>
        writeIndexSnapshot(this.#env.layout, this.#env.storeId, this.#env.locator.index, this.#env.packs),
      ...this.#gc.handlers(),
      ...new VerifyThread(this.#env).handlers(),
    };
  }
}
