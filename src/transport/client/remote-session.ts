// A backup session at a server, as a backup sees it: what it may build on, put, get, commit. After the commit its snapshot can be read back.
import type { ObjectId, StoredObject } from '../../chunker/object.ts';
import type { Archive, ClientPart, Manifest } from '../../schema/manifest.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { HoldfastError } from '../../util/errors.ts';
import { JoinedSession, type Opened, type SessionPlace, type ThreadTerms } from './joined-session.ts';
import type { RemoteCounters } from './remote-sink.ts';
import { SentIds } from './sent-ids.ts';
import type { CommitAnswer, GroupPlace, OpenAnswer } from './session-calls.ts';

/** A snapshot of the group that the backup may build on. */
export interface RemoteBase {
  readonly name: string;
  readonly sequence: number;
  readonly archives: readonly Archive[];
  readonly manifest: Manifest;
  readonly damaged: readonly { readonly archive: string; readonly offset: number; readonly length: number }[];
}

export interface RemoteCommitted {
  readonly name: { readonly group: string; readonly time: number };
  readonly manifest: Manifest;
  readonly bytesStored: number;
  readonly warnings: readonly string[];
}

export class RemoteSession {
  readonly bases: readonly RemoteBase[];
  readonly adoptedObjects: number;
  readonly isFar = true;
  /** Average size of chunks of the datastore: a client that cuts otherwise shares nothing with others. */
  readonly averageBytes: number;
  /** Of the datastore. */
  readonly storeId: string;
  readonly #place: SessionPlace;
  readonly #group: GroupPlace;
  readonly #joined: JoinedSession;
  readonly #terms: ThreadTerms;
  readonly #counters: RemoteCounters = { objectsNew: 0, objectsReused: 0, bytesNew: 0, bytesStored: 0 };
  #reader: JoinedSession | undefined;
  #isEnded = false;

  private constructor(
    place: SessionPlace,
    group: GroupPlace,
    joined: JoinedSession,
    terms: ThreadTerms,
    answer: OpenAnswer,
  ) {
    this.#place = place;
    this.#group = group;
    this.#joined = joined;
    this.#terms = terms;
    this.bases = (answer.bases ?? []).map((base) => ({ ...base, archives: base.manifest.client.archives }));
    this.adoptedObjects = answer['adopted-objects'] ?? 0;
    this.averageBytes = answer['average-bytes'] as number;
    this.storeId = answer['store-id'];
  }

  /** @throws what the server refuses, `server-unreachable`, `server-untrusted`. */
  static async open(
    place: SessionPlace,
    group: GroupPlace,
    options: Pick<ThreadTerms, 'key' | 'compressionLevel'>,
  ): Promise<RemoteSession> {
    let first: OpenAnswer | undefined;
    let terms: ThreadTerms | undefined;
    const open = async (): Promise<OpenAnswer> => {
      // A wrong address is told at once; a server that was there a moment ago is waited for.
      const patienceMs = first === undefined ? 0 : place.patienceMs;
      const call = { signal: place.signal, patienceMs };
      const answer = await place.calls.openBackup(group, options.key?.fingerprint, call);
      requireBackup(answer);
      first ??= answer;
      return answer;
    };
    const joined = await JoinedSession.join(place, 'backup', open, 'now', (answer) => {
      const { space, bases = [], 'scope-is-empty': isEmpty = false } = answer as OpenAnswer;
      const sentIds = isEmpty ? new SentIds().buffer : undefined;
      terms = { ...options, space, isThorough: bases.some((base) => base.damaged.length > 0), sentIds };
      return terms;
    });
    return new RemoteSession(place, group, joined, terms as unknown as ThreadTerms, first as unknown as OpenAnswer);
  }

  get id(): string {
    return this.#joined.id;
  }

  async put(kind: number, refs: Uint8Array, payload: Uint8Array): Promise<ObjectId> {
    const work = { session: this.id, kind, refs, payload };
    return Buffer.from(await this.#place.pool.call<Uint8Array>(0, 'store.put', work)) as ObjectId;
  }

  async get(id: ObjectId): Promise<StoredObject> {
    return await this.#place.pool.call<StoredObject>(0, 'store.get', { session: this.id, id });
  }

  /** `bytesStored` counts what the server has taken over. */
  async counters(): Promise<RemoteCounters> {
    for (const fresh of await this.#place.pool.all<RemoteCounters>('store.takeCounters', this.id)) {
      this.#counters.objectsNew += fresh.objectsNew;
      this.#counters.objectsReused += fresh.objectsReused;
      this.#counters.bytesNew += fresh.bytesNew;
    }
    this.#counters.bytesStored = this.#joined.hub.bytesPut;
    return { ...this.#counters };
  }

  /** Makes the snapshot of what was put. @throws `object-damaged` with `data.ranges` when something has to be put again. */
  async commit(client: ClientPart, wantedTime: number | undefined, signal: AbortSignal): Promise<RemoteCommitted> {
    let answer: CommitAnswer;
    try {
      answer = await this.#commit(client, wantedTime, signal);
    } catch (error) {
      // What was known is so no longer: everything is asked about again.
      if (error instanceof HoldfastError && error.code === 'object-damaged')
        await this.#place.pool.all('remote.beThorough', this.id);
      throw error;
    }
    const { manifest, warnings } = answer;
    this.#isEnded = true;
    await this.#joined.end(true);
    await this.#readBack(manifest);
    const name = { group: manifest.client.backup, time: manifest.server.time };
    return { name, manifest, bytesStored: manifest.server.bytesStored ?? this.#joined.hub.bytesPut, warnings };
  }

  /** Ends without a snapshot; what was put stays for a retry. */
  async suspend(): Promise<void> {
    await this.close();
  }

  /** Lets go of everything: of an unfinished session, and of what a commit left open for the read-back. */
  async close(): Promise<void> {
    if (!this.#isEnded) {
      this.#isEnded = true;
      await this.#joined.end();
    }
    const reader = this.#reader;
    this.#reader = undefined;
    await reader?.end();
  }

  async #commit(client: ClientPart, time: number | undefined, signal: AbortSignal): Promise<CommitAnswer> {
    const either = AbortSignal.any([signal, this.#place.signal]);
    const { calls, patienceMs } = this.#place;
    await this.#joined.hub.drained();
    for (;;) {
      const access = await this.#joined.keeper.access();
      const made = this.#joined.keeper.reopenings > 0 ? madeBefore(access, client) : undefined;
      if (made !== undefined) return made;
      try {
        return await calls.commit(access.session, client, time, { signal: either, patienceMs });
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        if (error.code === 'session-gone') await this.#joined.keeper.lost(access);
        else if (error.code === 'out-of-scope' && this.#joined.keeper.reopenings > 0) throw lost(error);
        else throw error;
      }
    }
  }

  /** What is read back of the snapshot comes through a session for reading, opened when it is needed. */
  async #readBack({ server }: Manifest): Promise<void> {
    const call = { signal: this.#place.signal, patienceMs: this.#place.patienceMs };
    this.#reader = await JoinedSession.join(
      this.#place,
      'read',
      () => this.#place.calls.openRead(this.#group, [server.time], call),
      'needed',
      () => ({ ...this.#terms, space: server.space, sentIds: undefined }),
    );
  }
}

/** The snapshot when it was made and only the answer was lost, together with the server's memory of the session. */
function madeBefore({ answer }: Opened, client: ClientPart): CommitAnswer | undefined {
  const wanted = canonicalJson(client);
  const base = answer.bases?.find(({ manifest }) => canonicalJson(manifest.client) === wanted);
  return base === undefined ? undefined : { manifest: base.manifest, warnings: [] };
}

function requireBackup(answer: OpenAnswer): void {
  const average = answer['average-bytes'];
  if (average !== undefined && average >= 4096 && answer.bases !== undefined) return;
  throw new HoldfastError('protocol-failed', 'the server opened a session for a backup without bases and average size');
}

function lost(cause: unknown): HoldfastError {
  return new HoldfastError(
    'session-gone',
    'the server began anew and does not have all that this session had; run again: what was sent is kept for a retry',
    { cause },
  );
}
