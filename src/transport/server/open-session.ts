// One open session of a client in the main thread: a backup or a reader, who may use it, when it was last used, and its end. What is done with it
// follows one after the other.
import { randomBytes } from 'node:crypto';
import type { BackupSession } from '../../datastore/sessions/backup-session.ts';
import type { ReadSession } from '../../datastore/sessions/read-session.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { Turn } from '../../util/turn.ts';
import { Activity, nowSeconds } from './activity.ts';
import { type AdmittedSession, hashToken, sessionGone } from './admission.ts';
import type { ServedStore } from './served-store.ts';
import type { CommittedSession, SessionDescription } from './session-answers.ts';
import type { CommitRequest } from './session-requests.ts';

const TOKEN_BYTES = 32;

export type ClientSession =
  | { readonly kind: 'backup'; readonly session: BackupSession }
  | { readonly kind: 'read'; readonly session: ReadSession };

export interface SessionPlace {
  readonly served: ServedStore;
  /** Who opened it: nobody else may use it. */
  readonly authId: string;
  /** Of the group: the same, or a token of theirs. */
  readonly owner: string;
  readonly ns: Namespace;
  readonly group: GroupName;
}

export class OpenSession {
  readonly place: SessionPlace;
  readonly activity = new Activity();
  /** What it made, or undefined when it ended without a snapshot; settles once. */
  readonly over: Promise<CommittedSession | undefined>;
  readonly #settle: (committed: CommittedSession | undefined) => void;
  readonly #client: ClientSession;
  readonly #turn = new Turn();
  #counters: SessionDescription['counters'] = { 'objects-new': 0, 'objects-reused': 0, 'bytes-new': 0 };
  #isCommitted = false;
  #isOver = false;

  private constructor(place: SessionPlace, client: ClientSession) {
    this.place = place;
    this.#client = client;
    let settle: (committed: CommittedSession | undefined) => void = () => {};
    this.over = new Promise((resolve) => {
      settle = resolve;
    });
    this.#settle = settle;
    this.activity.touch(nowSeconds());
  }

  /** Lets the bulk listener's threads serve it; returns it with its token. */
  static async admit(place: SessionPlace, client: ClientSession): Promise<{ session: OpenSession; token: string }> {
    const session = new OpenSession(place, client);
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    const { kind } = client;
    const activity = session.activity.buffer;
    const admitted: AdmittedSession = { session: session.id, kind, tokenHash: hashToken(token), activity };
    try {
      await place.served.pool.all('bulk.admit', admitted);
    } catch (error) {
      await session.end();
      throw error;
    }
    return { session, token };
  }

  get id(): string {
    return this.#client.session.id;
  }

  get isBackup(): boolean {
    return this.#client.kind === 'backup';
  }

  /** Whether it has ended, or is ending. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether it has ended, or made its snapshot: then it only answers what it has answered before. */
  get isDone(): boolean {
    return this.#isOver || this.#isCommitted;
  }

  /** Runs one call on the session; the ones after it wait. @throws `session-gone` when it has ended. */
  async use<Result>(work: () => Promise<Result>): Promise<Result> {
    this.activity.callStarted(nowSeconds());
    try {
      return await this.#turn.run(async () => {
        if (this.#isOver) throw sessionGone(this.id);
        return await work();
      });
    } finally {
      this.activity.callEnded(nowSeconds());
    }
  }

  /** Within `use`. @throws `session-gone` for a reader, and what a commit throws. */
  async commit({ client, time }: CommitRequest, signal: AbortSignal): Promise<CommittedSession> {
    if (this.#client.kind !== 'backup') throw sessionGone(this.id);
    const { manifest, warnings } = await this.#client.session.commit(client, time, signal);
    const committed = { manifest, warnings };
    if (!this.#isCommitted) {
      this.#isCommitted = true;
      this.#settle(committed);
      await this.#dismiss();
    }
    return committed;
  }

  /** Within `use`. */
  async counters(): Promise<SessionDescription['counters']> {
    if (this.#client.kind === 'backup' && !this.#isCommitted) {
      // What is new is counted against the scope alone, so these say nothing of others (rule S7).
      const { objectsNew, objectsReused, bytesStored } = await this.#client.session.counters();
      this.#counters = { 'objects-new': objectsNew, 'objects-reused': objectsReused, 'bytes-new': bytesStored };
    }
    return this.#counters;
  }

  /** Ends it; what a backup has put stays for a retry of its group. */
  async end(): Promise<void> {
    await this.#turn.run(async () => {
      if (this.#isOver) return;
      this.#isOver = true;
      try {
        await this.#dismiss();
        if (this.#client.kind === 'read') await this.#client.session.end();
        else await this.#client.session.suspend();
      } finally {
        this.#settle(undefined);
      }
    });
  }

  async #dismiss(): Promise<void> {
    await this.place.served.pool.all('bulk.dismiss', this.id);
  }
}
