// A session at a server together with the lines and threads that work in it: opened, kept alive while they do nothing, ended.
import { randomBytes } from 'node:crypto';
import type { ObjectKey } from '../../chunker/object-codec.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { BulkLine } from './bulk-line.ts';
import { RecordHub } from './record-hub.ts';
import type { OpenAnswer, SessionCalls } from './session-calls.ts';
import { type OpenedAccess, SessionKeeper } from './session-keeper.ts';

/** A session as its opening answered. */
export interface Opened extends OpenedAccess {
  readonly answer: OpenAnswer;
}

/** What the sessions of one repository have in common. */
export interface SessionPlace {
  readonly calls: SessionCalls;
  readonly pool: WorkerPool;
  readonly host: string;
  readonly openLine: (origin: string) => BulkLine;
  readonly lines: number;
  readonly patienceMs: number;
  readonly signal: AbortSignal;
}

/** What threads are told of it. */
export interface ThreadTerms {
  readonly space: number;
  readonly key: ObjectKey | undefined;
  readonly compressionLevel: number;
  readonly isThorough: boolean;
  /** Of `SentIds`, where nothing is in scope; else undefined. */
  readonly sentIds: SharedArrayBuffer | undefined;
}

/** Until a session that is opened when it is first needed has told its own. */
const MODEST_LIMITS = { haveIds: 1024, getIds: 32, putBytes: 4 * 1024 * 1024 };
const LOOK_MS = 60_000;

export class JoinedSession {
  /** Its name among the threads of this process. */
  readonly id = randomBytes(16).toString('hex');
  readonly keeper: SessionKeeper<Opened>;
  readonly hub: RecordHub<Opened>;
  readonly #place: SessionPlace;
  readonly #timer: NodeJS.Timeout;
  #quietSinceMs = performance.now();

  private constructor(
    place: SessionPlace,
    kind: 'backup' | 'read',
    keeper: SessionKeeper<Opened>,
    limits: { haveIds: number; getIds: number; putBytes: number },
  ) {
    const { openLine, lines, patienceMs, signal } = place;
    this.#place = place;
    this.keeper = keeper;
    this.hub = new RecordHub({ keeper, openLine, lines, limits, patienceMs, signal, kind });
    this.#timer = setInterval(() => void this.#keepAlive().catch(() => undefined), LOOK_MS);
    this.#timer.unref();
  }

  /** `open` makes the call; with `when` `'needed'` only for the first question of a thread, and with modest limits until then. */
  static async join(
    place: SessionPlace,
    kind: 'backup' | 'read',
    open: () => Promise<OpenAnswer>,
    when: 'now' | 'needed',
    terms: (answer: OpenAnswer | undefined) => ThreadTerms,
  ): Promise<JoinedSession> {
    const keeper = new SessionKeeper(async () => openedOf(await open(), place.host));
    const answer = when === 'now' ? (await keeper.access()).answer : undefined;
    const session = new JoinedSession(place, kind, keeper, answer === undefined ? MODEST_LIMITS : limitsOf(answer));
    try {
      await session.hub.join(place.pool, { session: session.id, ...terms(answer) });
      return session;
    } catch (error) {
      await session.end();
      throw error;
    }
  }

  /** Lets go of threads and lines, and ends the session at the server when it is still open there. */
  async end(isDone = false): Promise<void> {
    clearInterval(this.#timer);
    const opened = await this.keeper.openNow();
    await this.hub.close();
    // Threads that ended have nothing to leave; a server that is gone ends the session by itself.
    await this.#place.pool.all('remote.leave', this.id).catch(() => undefined);
    if (opened !== undefined && !isDone) await this.#place.calls.end(opened.session).catch(() => undefined);
  }

  async #keepAlive(): Promise<void> {
    const opened = await this.keeper.openNow();
    if (opened === undefined || this.hub.takeBusy()) {
      this.#quietSinceMs = performance.now();
      return;
    }
    const idleMs = opened.answer.limits['idle-seconds'] * 1000;
    if (performance.now() - this.#quietSinceMs < idleMs / 3) return;
    this.#quietSinceMs = performance.now();
    await this.#place.calls.touch(opened.session, this.#place.signal);
  }
}

function limitsOf({ limits }: OpenAnswer) {
  return { haveIds: limits['have-ids'], getIds: limits['get-ids'], putBytes: limits['put-bytes'] };
}

function openedOf(answer: OpenAnswer, host: string): Opened {
  const shown = host.includes(':') ? `[${host}]` : host;
  return {
    session: answer.session,
    token: answer.token,
    origin: `https://${shown}:${answer['bulk-port']}`,
    answer,
  };
}
