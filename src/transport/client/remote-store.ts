// A datastore on a server: asks it and has it work, opens sessions for backups and restores, counts what passes over the wire.
import type { ObjectKey } from '../../chunker/object-codec.ts';
import { objectKeyOf } from '../../chunker/object-codec.ts';
import type { Manifest } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { ApiLine } from './api-line.ts';
import { Bandwidth } from './bandwidth.ts';
import { BulkConnection } from './bulk-connection.ts';
import { BulkLine } from './bulk-line.ts';
import { type Asked, DatastoreCalls, type OperationWatch } from './datastore-calls.ts';
import { JoinedSession, type SessionPlace } from './joined-session.ts';
import { RemoteSession } from './remote-session.ts';
import type { Access } from './remotes.ts';
import type { RepositoryAddress } from './repository-address.ts';
import { type GroupPlace, type OpenAnswer, SessionCalls } from './session-calls.ts';
import { TrustedLines, type WireCounters } from './trusted-line.ts';

const DEFAULT_LINES = 4;
const DEFAULT_PATIENCE_MS = 10 * 60_000;
/** A command that only asks does not wait for a server for minutes. */
const ASK_PATIENCE_MS = 0;

export interface RemoteOptions {
  readonly signal: AbortSignal;
  /** Connections for records of each session. */
  readonly lines?: number;
  /** For how long a broken line is tried again. */
  readonly patienceMs?: number;
  /** Of all connections together. */
  readonly uploadBytesPerSecond?: number | undefined;
  readonly downloadBytesPerSecond?: number | undefined;
}

/** Snapshots that are open for reading: threads of the pool fetch objects of the space. */
export interface RemoteReader {
  readonly manifests: readonly Manifest[];
  readonly storeId: string;
  /** Joins the threads to a new session, for one that was lost, and waits for a server that is away. */
  reopen(): Promise<void>;
  close(): Promise<void>;
}

export class RemoteStore {
  readonly #address: RepositoryAddress;
  readonly #options: RemoteOptions;
  readonly #trusted: TrustedLines;
  readonly #api: ApiLine;
  readonly #calls: SessionCalls;
  readonly #datastore: DatastoreCalls;
  readonly #up: Bandwidth;
  readonly #down: Bandwidth;
  readonly #open = new Set<{ close(): Promise<void> }>();

  constructor(address: RepositoryAddress, access: Access, options: RemoteOptions) {
    this.#address = address;
    this.#options = options;
    this.#trusted = new TrustedLines(access.fingerprint);
    this.#api = new ApiLine(address, access, this.#trusted);
    this.#calls = new SessionCalls(this.#api, address.store);
    this.#datastore = new DatastoreCalls(this.#api, address.store);
    this.#up = new Bandwidth(options.uploadBytesPerSecond);
    this.#down = new Bandwidth(options.downloadBytesPerSecond);
  }

  /** Bytes over all connections so far. */
  get wire(): WireCounters {
    return this.#trusted.counters;
  }

  /** Asks a question of the datastore by its name. @throws what the server refuses, `protocol-failed` for an answer of another form. */
  async ask(query: Asked, argument: unknown): Promise<unknown> {
    return await this.#datastore.ask(query, argument, { signal: this.#options.signal, patienceMs: ASK_PATIENCE_MS });
  }

  /** Has an operation done at the datastore, by its name. */
  async operate(operation: Asked, argument: unknown, watch: OperationWatch): Promise<unknown> {
    return await this.#datastore.operate(operation, argument, watch);
  }

  /** Opens a session for a backup; the threads of the pool put into it. */
  async openBackup(
    pool: WorkerPool,
    group: GroupPlace,
    { key, compressionLevel }: { readonly key: ObjectKey | undefined; readonly compressionLevel: number },
  ): Promise<RemoteSession> {
    const options = { key: key === undefined ? undefined : objectKeyOf(key), compressionLevel };
    const session = await RemoteSession.open(this.#place(pool), group, options);
    this.#open.add(session);
    return session;
  }

  /** Opens snapshots of a group, all of one key, for reading; `times` in Unix seconds. */
  async openReader(
    pool: WorkerPool,
    group: GroupPlace,
    times: readonly number[],
    key: ObjectKey | undefined,
  ): Promise<RemoteReader> {
    const place = this.#place(pool);
    let first: OpenAnswer | undefined;
    const open = async (): Promise<OpenAnswer> => {
      const patienceMs = first === undefined ? ASK_PATIENCE_MS : place.patienceMs;
      const answer = await place.calls.openRead(group, times, { signal: place.signal, patienceMs });
      requireManifests(answer, times);
      first ??= answer;
      return answer;
    };
    const terms = {
      key: key === undefined ? undefined : objectKeyOf(key),
      compressionLevel: 1,
      isThorough: false,
      sentIds: undefined,
    };
    const join = (): Promise<JoinedSession> =>
      JoinedSession.join(place, 'read', open, 'now', (answer) => ({ ...terms, space: (answer as OpenAnswer).space }));
    let joined = await join();
    const { manifests = [], 'store-id': storeId } = first as unknown as OpenAnswer;
    const reopen = async (): Promise<void> => {
      const lost = joined;
      joined = await join();
      await lost.end();
    };
    const reader = { manifests, storeId, reopen, close: () => joined.end() };
    this.#open.add(reader);
    return reader;
  }

  /** Ends sessions that are still open, and all connections. */
  async close(): Promise<void> {
    for (const each of this.#open) await each.close();
    await this.#api.close();
  }

  #place(pool: WorkerPool): SessionPlace {
    const { signal, lines = DEFAULT_LINES, patienceMs = DEFAULT_PATIENCE_MS } = this.#options;
    const openLine = (origin: string): BulkLine =>
      new BulkLine(new BulkConnection(this.#trusted, origin), this.#up, this.#down);
    return { calls: this.#calls, pool, host: this.#address.host, openLine, lines, patienceMs, signal };
  }
}

function requireManifests({ manifests = [], space }: OpenAnswer, times: readonly number[]): void {
  const isAsked = (time: number): boolean =>
    manifests.some(({ server }) => server.time === time && server.space === space);
  if (manifests.length === times.length && times.every(isAsked)) return;
  throw new HoldfastError('protocol-failed', 'the server opened other snapshots for reading than were asked for');
}
