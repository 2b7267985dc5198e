// The sessions of all clients of a server: opened for a group whose owner may, used through their token, committed, ended by their client, by
// idleness or with the server. The calls of docs/protocol.md, section 1, take and give plain JSON.
import { randomBytes } from 'node:crypto';
import { HoldfastError } from '../../util/errors.ts';
import { nowSeconds } from './activity.ts';
import { sessionGone } from './admission.ts';
import { LIMITS } from './bulk-limits.ts';
import { type ClientSession, OpenSession, type SessionPlace } from './open-session.ts';
import type { ServedStore } from './served-store.ts';
import {
  baseAnswer,
  type CommittedSession,
  limitsAnswer,
  type OpenedSession,
  type SessionDescription,
} from './session-answers.ts';
import { type OpenRequest, parseCommit, parseOpen } from './session-requests.ts';

/** Who calls, after the API has looked at privileges. */
export interface Caller {
  /** `name@realm`, or `name@realm!token`. */
  readonly authId: string;
  /** Only groups of their own may be read: they have Datastore.Backup and no Datastore.Read. */
  readonly ownGroupsOnly?: boolean;
}

/** What the API mounts. */
export interface SessionCalls {
  open(store: string, caller: Caller, body: unknown): Promise<OpenedSession>;
  commit(store: string, caller: Caller, session: string, body: unknown): Promise<CommittedSession>;
  describe(store: string, caller: Caller, session: string): Promise<SessionDescription>;
  end(store: string, caller: Caller, session: string): Promise<void>;
}

/** Told of each session that was opened; `end` ends it. What it throws refuses the session. */
export type SessionWatcher = (
  session: Pick<OpenSession, 'id' | 'place' | 'isBackup' | 'over'>,
  end: () => Promise<void>,
) => void;

export interface SessionsOptions {
  readonly idleSeconds?: number;
  readonly maxSessions?: number;
  readonly maxSessionsOfUser?: number;
  /** A session that no line leads to for so long makes way when its owner backs up the same group again, and holds up no end of the server. */
  readonly abandonedSeconds?: number;
  readonly watch?: SessionWatcher;
  /** Hears of sessions that did not end well on their own. */
  readonly report: (error: unknown) => void;
}

/** Each takes two write buffers in each thread, of 256 there are. */
const MAX_SESSIONS = 120;
const MAX_SESSIONS_OF_USER = 64;
const ABANDONED_SECONDS = 10;
/** Records come finished; the level is of no use here. */
const COMPRESSION_LEVEL = 1;

export class TransportSessions implements SessionCalls {
  /** Another one after each start of the server. */
  readonly serverStart = randomBytes(8).toString('hex');
  readonly #options: Required<SessionsOptions>;
  readonly #stores = new Map<string, ServedStore>();
  readonly #sessions = new Map<string, OpenSession>();
  readonly #opening = new Map<object, string>();
  readonly #ending = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(options: SessionsOptions) {
    this.#options = {
      idleSeconds: LIMITS.idleSeconds,
      maxSessions: MAX_SESSIONS,
      maxSessionsOfUser: MAX_SESSIONS_OF_USER,
      abandonedSeconds: ABANDONED_SECONDS,
      watch: () => {},
      ...options,
    };
    this.#timer = setInterval(() => this.#endIdle(), Math.min(15_000, this.#options.idleSeconds * 250));
    this.#timer.unref();
  }

  /** Serves a datastore from now on. */
  addStore(served: ServedStore): void {
    this.#stores.set(served.name, served);
  }

  /** Ends the sessions of a datastore that is about to close. */
  async removeStore(name: string): Promise<void> {
    this.#stores.delete(name);
    await this.#endAll((session) => session.place.served.name === name);
  }

  /** Open sessions of a datastore by what they do. */
  activity(store: string): { readonly read: number; readonly write: number } {
    const open = [...this.#sessions.values()].filter(({ isDone, place }) => !isDone && place.served.name === store);
    const read = open.filter(({ isBackup }) => !isBackup).length;
    return { read, write: open.length - read };
  }

  /** How many are open, for metrics. */
  get count(): number {
    return [...this.#sessions.values()].filter((session) => !session.isDone).length;
  }

  /**
   * Opens a session.
   * @throws `not-owner`, `not-found`, `too-many`, `datastore-maintenance`, `quota-exceeded`, `disk-full`, `bad-argument`, `bad-name`.
   */
  async open(store: string, caller: Caller, body: unknown): Promise<OpenedSession> {
    const served = this.#store(store);
    const request = parseOpen(body);
    return await this.#counted(caller, async () => {
      const owner = await requireOwner(served, caller, request);
      const place = { served, authId: caller.authId, owner, ns: request.ns, group: request.group };
      if (request.kind === 'backup') await this.#endAbandoned(place);
      const client = await this.#openClient(place, request);
      const { session, token } = await OpenSession.admit(place, client);
      this.#sessions.set(session.id, session);
      try {
        this.#options.watch(session, () => this.#end(session));
      } catch (error) {
        await this.#end(session);
        throw error;
      }
      if (this.#ending.signal.aborted || this.#stores.get(store) !== served) {
        await this.#end(session);
        throw ending();
      }
      return {
        session: session.id,
        token,
        'bulk-port': served.bulkPort,
        'server-start': this.serverStart,
        'store-id': served.store.config.store,
        space: client.session.space,
        limits: limitsAnswer(this.#options.idleSeconds),
        ...this.#details(served, client),
      };
    });
  }

  /** Makes the snapshot. @throws `session-gone`, `object-damaged` with `ranges`, `bad-argument`, and what a commit throws. */
  async commit(store: string, caller: Caller, session: string, body: unknown): Promise<CommittedSession> {
    const open = this.#session(store, caller, session);
    const commit = parseCommit(body, open.place.group);
    return await open.use(() => open.commit(commit, this.#ending.signal));
  }

  /** @throws `session-gone`. */
  async describe(store: string, caller: Caller, session: string): Promise<SessionDescription> {
    const open = this.#session(store, caller, session);
    const counters = await open.use(() => open.counters());
    return { session, 'server-start': this.serverStart, counters };
  }

  /** Ends the session without a snapshot, or forgets that it has made one. @throws `session-gone`. */
  async end(store: string, caller: Caller, session: string): Promise<void> {
    await this.#end(this.#session(store, caller, session));
  }

  /** Begins to end the sessions that their clients have lost: nobody goes on with them before another is opened. */
  endAbandoned(): void {
    this.#endAll((session) => this.#isAbandoned(session)).catch(this.#options.report);
  }

  /** Ends everything; what clients have put stays for a retry. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#ending.abort(ending());
    await this.#endAll(() => true);
  }

  #store(name: string): ServedStore {
    if (this.#ending.signal.aborted) throw ending();
    const served = this.#stores.get(name);
    if (served === undefined) throw new HoldfastError('not-found', `there is no datastore ${name} here`);
    return served;
  }

  /** A session is there for who opened it, and for nobody else. */
  #session(store: string, { authId }: Caller, id: string): OpenSession {
    const session = this.#sessions.get(id);
    if (session?.place.authId !== authId || session.place.served.name !== store) throw sessionGone(id);
    return session;
  }

  /** Counts a session that is being opened, so that many at once do not pass the limits. @throws `too-many`. */
  async #counted<Result>(caller: Caller, open: () => Promise<Result>): Promise<Result> {
    const user = userOf(caller.authId);
    const taken = [...this.#opening.values()];
    for (const session of this.#sessions.values()) if (!session.isDone) taken.push(userOf(session.place.authId));
    const own = taken.filter((each) => each === user).length;
    if (taken.length >= this.#options.maxSessions || own >= this.#options.maxSessionsOfUser)
      throw new HoldfastError(
        'too-many',
        `${taken.length} sessions are open, ${own} of them of ${user}; wait for one to end`,
      );
    const mark = {};
    this.#opening.set(mark, user);
    try {
      return await open();
    } finally {
      this.#opening.delete(mark);
    }
  }

  async #openClient({ served, owner, ns, group }: SessionPlace, request: OpenRequest): Promise<ClientSession> {
    const { store } = served;
    if (request.kind === 'read')
      return { kind: 'read', session: await store.openReader({ ns, group, times: request.times }) };
    const { fingerprint } = request;
    const options = { compressionLevel: COMPRESSION_LEVEL, countsScopeOnly: true };
    return { kind: 'backup', session: await store.openSession({ ns, group, owner, fingerprint, ...options }) };
  }

  #details({ store }: ServedStore, client: ClientSession): Partial<OpenedSession> {
    if (client.kind === 'read') return { manifests: client.session.manifests };
    const { bases, adoptedObjects, scopeIsEmpty } = client.session;
    return {
      'average-bytes': store.config.chunk.averageBytes,
      bases: bases.map(baseAnswer),
      'adopted-objects': adoptedObjects,
      'scope-is-empty': scopeIsEmpty,
    };
  }

  /** Sessions that a client lost: what they hold is adopted by its next one, and not only when they have been idle for long. */
  async #endAbandoned({ served, owner, ns, group }: SessionPlace): Promise<void> {
    for (const session of [...this.#sessions.values()]) {
      const { place } = session;
      if (!session.isBackup || place.served !== served) continue;
      if (place.owner !== owner || place.ns !== ns || place.group !== group) continue;
      // One that is just ending has not left what it holds yet.
      if (session.isOver) await session.end();
      if (session.isDone) continue;
      if (this.#isAbandoned(session)) await this.#end(session);
    }
  }

  #isAbandoned({ activity }: OpenSession): boolean {
    return !activity.isConnected && activity.idleSeconds(nowSeconds()) >= this.#options.abandonedSeconds;
  }

  #endIdle(): void {
    const now = nowSeconds();
    for (const session of [...this.#sessions.values()])
      if (session.activity.idleSeconds(now) >= this.#options.idleSeconds)
        this.#end(session).catch(this.#options.report);
  }

  async #endAll(concerns: (session: OpenSession) => boolean): Promise<void> {
    const sessions = [...this.#sessions.values()].filter(concerns);
    const ends = await Promise.allSettled(sessions.map((session) => this.#end(session)));
    for (const end of ends) if (end.status === 'rejected') this.#options.report(end.reason);
  }

  async #end(session: OpenSession): Promise<void> {
    try {
      await session.end();
    } finally {
      this.#sessions.delete(session.id);
    }
  }
}

/**
 * The owner of the group: who calls, a token of theirs, or nobody yet.
 * @throws `not-owner`.
 */
async function requireOwner(served: ServedStore, caller: Caller, request: OpenRequest): Promise<string> {
  const owner = (await served.store.groups.state(request.ns, request.group))?.owner;
  // A group that was removed belongs to nobody.
  if (owner === undefined || owner === '') return caller.authId;
  const isOwn = owner === caller.authId || (owner.includes('!') && userOf(owner) === caller.authId);
  if (!isOwn && (request.kind === 'backup' || caller.ownGroupsOnly === true))
    throw new HoldfastError('not-owner', `group ${request.group} belongs to ${owner}, not to ${caller.authId}`);
  return owner;
}

/** `name@realm` of a user or a token. */
function userOf(authId: string): string {
  return authId.split('!', 1)[0] as string;
}

function ending(): HoldfastError {
  return new HoldfastError('aborted', 'the server is ending; try again later');
}
