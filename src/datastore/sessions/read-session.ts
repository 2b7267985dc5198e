// A session that reads snapshots for a client elsewhere, in the main thread: it keeps what they reach from garbage collection, and its marks say
// what may be read, beginning with their roots (rule S6).
import { randomBytes } from 'node:crypto';
import type { ObjectId } from '../../chunker/object.ts';
import type { Manifest } from '../../schema/manifest.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type Root, type RootSession, rootsOf } from '../gc/roots.ts';
import { snapshotLabel } from '../snapshots/group-store.ts';
import { markCopies } from './scope-walk.ts';
import type { SessionContext } from './session-context.ts';
import { SessionMarks } from './session-marks.ts';

export interface ReadRequest {
  readonly ns: Namespace;
  readonly group: GroupName;
  /** Labels in Unix seconds, at least one. */
  readonly times: readonly number[];
}

/** What every thread is told when a reader opens; structured-cloneable. */
export interface ReaderDescriptor {
  readonly sessionId: string;
  readonly space: number;
  readonly readable: SharedArrayBuffer;
}

export class ReadSession implements RootSession {
  readonly id = randomBytes(16).toString('hex');
  /** In the order in which they were asked for. */
  readonly manifests: readonly Manifest[];
  readonly marks = new SessionMarks();
  readonly scopeRoots: readonly Root[];
  readonly adopted: readonly Uint32Array[] = [];
  readonly #context: SessionContext;
  readonly #open: Set<ReadSession>;

  private constructor(context: SessionContext, manifests: readonly Manifest[], open: Set<ReadSession>) {
    this.#context = context;
    this.manifests = manifests;
    this.scopeRoots = manifests.flatMap(rootsOf);
    this.#open = open;
  }

  /** Opens it in every thread, in the turn of the roots; it is in `open` until it ends. @throws `not-found`, `manifest-altered`, `bad-argument`. */
  static async open(context: SessionContext, request: ReadRequest, open: Set<ReadSession>): Promise<ReadSession> {
    const manifests: Manifest[] = [];
    for (const time of request.times) {
      const name = { ns: request.ns, group: request.group, time };
      const manifest = await context.groups.manifest(name);
      if (manifest === undefined) throw new HoldfastError('not-found', `there is no snapshot ${snapshotLabel(name)}`);
      manifests.push(manifest);
    }
    const session = new ReadSession(context, manifests, open);
    const { space, locator, marks } = { ...context, space: session.space, marks: session.marks };
    if (manifests.some(({ server }) => server.space !== space))
      throw new HoldfastError(
        'bad-argument',
        `the snapshots are not all of one key; read those of ${request.group} in a session for each key`,
      );
    // First of all: a collection that moves a copy tells those that are open.
    open.add(session);
    try {
      for (const root of session.scopeRoots) markCopies(locator, space, root.id as ObjectId, 0, marks.scope);
      const descriptor: ReaderDescriptor = { sessionId: session.id, space, readable: marks.scope.buffer };
      await context.pool.all('store.openReader', descriptor);
      return session;
    } catch (error) {
      open.delete(session);
      throw error;
    }
  }

  /** The one that all its objects are in. */
  get space(): number {
    return this.manifests[0]?.server.space ?? 0;
  }

  /** Lets go of the snapshots. */
  async end(): Promise<void> {
    try {
      await this.#context.pool.all('store.closeReader', this.id);
    } finally {
      await this.#context.rootTurn.run(async () => void this.#open.delete(this));
    }
  }
}
