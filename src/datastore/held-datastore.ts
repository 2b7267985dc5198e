// A datastore as its one holder sees it: opened with recovery, it gives out sessions, commits them, and changes snapshots.
// Order of everything durable: session file, packs, high-water marks, manifest; the reverse when something goes (docs/design.md).
import { randomBytes, randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import type { DataKey } from '../chunker/data-key.ts';
import { objectKeyOf } from '../chunker/object-codec.ts';
import type { Accounting } from '../schema/accounting-file.ts';
import type { Manifest } from '../schema/manifest.ts';
import type { GroupName, Namespace } from '../schema/names.ts';
import type { DatastoreConfig, SessionRecord } from '../schema/state-files.ts';
import { HoldfastError } from '../util/errors.ts';
import { SharedBuffers } from '../util/shared-buffers.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { accountAll } from './accounting/account.ts';
import { RememberedAccounting } from './accounting/accounting-file.ts';
import { presentSnapshots } from './accounting/present-snapshots.ts';
import { describeRootError, describingRootErrors, readConfig } from './config.ts';
import { GarbageCollection, type GcContext, type GcOptions } from './gc/collect-garbage.ts';
import { rootsOf } from './gc/roots.ts';
import { lockedError } from './holder-record.ts';
import type { EntrySet } from './index/entry-set.ts';
import type { ObjectIndex } from './index/object-index.ts';
import { Layout } from './layout.ts';
import type { AllowanceDescriptor } from './limits/allowance.ts';
import { requireOnline, requireWritable } from './limits/maintenance.ts';
import { SessionAllowances } from './limits/session-allowances.ts';
import { type HeldLock, tryHold } from './lock.ts';
import type { ObjectSource } from './object-source.ts';
import { type OpenedStore, openHeld } from './open-held.ts';
import type { PackTable } from './packs/pack-table.ts';
import type { QuarantineList } from './quarantine.ts';
import type { PackRepair } from './repair/repair-operation.ts';
import { salvagePacks } from './repair/salvage-packs.ts';
import { BackupSession, type SessionContext } from './sessions/backup-session.ts';
import { findLeftovers, type Leftovers, sessionsOfPacks } from './sessions/leftovers.ts';
import { type ReadRequest, ReadSession } from './sessions/read-session.ts';
import { writeSessionFile } from './sessions/session-files.ts';
import { sessionSpace } from './sessions/session-space.ts';
import { GroupKeeping } from './snapshots/group-keeping.ts';
import { type GroupStore, type SnapshotName, snapshotLabel } from './snapshots/group-store.ts';
import { extendedLock, maxLockMs, refuseLocked, remainingLockMs } from './snapshots/retention-lock.ts';
import type { StoreClock } from './store-clock.ts';
import { type VerifyHooks, type VerifyReport, type VerifyRequest, verifyStore } from './verify/verify-store.ts';

/** The snapshot on disk is written anew when this share of the entries is not in it, */
const SNAPSHOT_STALE_SHARE = 1 / 16;
/** and at least so many: fewer load from footers in some 20 ms at the rate measured for 10 M, and a file of 48 bytes an entry is saved. */
const SNAPSHOT_WORTHWHILE = 65536;

export interface SessionRequest {
  readonly ns: Namespace;
  readonly group: GroupName;
  readonly owner: string;
  readonly compressionLevel: number;
  /** Encrypts what the session stores; without it, and without `fingerprint`, the session is in space plain. */
  readonly key?: DataKey | undefined;
  /** Of a key that only the client elsewhere has: the session then takes finished records. */
  readonly fingerprint?: string | undefined;
  /** The client is elsewhere: it is not to learn what others have stored. */
  readonly countsScopeOnly?: boolean;
}

export class HeldDatastore {
  readonly config: DatastoreConfig;
  /** What the user should know about what was found at open. */
  readonly warnings: readonly string[];
  readonly #layout: Layout;
  readonly #lock: HeldLock;
  readonly #shared: SharedBuffers;
  readonly #pool: WorkerPool;
  readonly #context: SessionContext;
  readonly #index: ObjectIndex;
  readonly #live: EntrySet;
  readonly #identity: { readonly storeId: Buffer; readonly epoch: number };
  readonly #groups: GroupStore;
  readonly #clock: StoreClock;
  readonly #quarantine: QuarantineList;
  readonly #unfinished: SessionRecord[];
  readonly #leftovers: Leftovers;
  readonly #openSessions = new Map<string, BackupSession>();
  readonly #openReaders = new Set<ReadSession>();
  readonly #accounting: RememberedAccounting;
  readonly #allowances: SessionAllowances;
  #failedSessions = 0;
  #isDropping = false;
  #isVerifying = false;
  #entriesInSnapshot: number;

  private constructor(opened: OpenedStore, lock: HeldLock, shared: SharedBuffers) {
    this.config = opened.config;
    this.warnings = opened.warnings;
    this.#lock = lock;
    this.#shared = shared;
    this.#context = opened.context;
    this.#layout = opened.context.layout;
    this.#pool = opened.context.pool;
    this.#index = opened.context.locator.index;
    this.#groups = opened.context.groups;
    this.#accounting = new RememberedAccounting(this.#layout);
    this.#allowances = new SessionAllowances(this.#layout, this.#groups, this.#accounting);
    this.#quarantine = opened.context.quarantine;
    this.#live = opened.live;
    this.#identity = opened.identity;
    this.#clock = opened.clock;
    this.#unfinished = opened.unfinished;
    this.#leftovers = opened.leftovers;
    this.#entriesInSnapshot = opened.entriesInSnapshot;
  }

  /**
   * Opens a datastore for writing: takes the lock, raises the epoch, recovers what an unclean stop left, joins the pool's threads.
   * @throws `datastore-locked`, `datastore-foreign`, `datastore-newer`, `datastore-read-only`.
   */
  static async open(root: string, pool: WorkerPool): Promise<HeldDatastore> {
    const layout = new Layout(resolve(root));
    const config = await readConfig(layout, true);
    await requireOnline(layout);
    const lock = tryHold(layout);
    if (lock === undefined) throw await lockedError(layout);
    const shared = new SharedBuffers(`holdfast-${randomUUID()}`);
    try {
      return new HeldDatastore(await openHeld(layout, config, shared, pool), lock, shared);
    } catch (error) {
      shared.close();
      lock.release();
      throw describeRootError(layout.root, error);
    }
  }

  /** Threads report copies that they found bad through the pool's events. */
  noteQuarantined(entry: number): void {
    this.#quarantine.add(entry);
  }

  get groups(): GroupStore {
    return this.#groups;
  }

  /** What is done to groups and namespaces, beside their snapshots. */
  get keeping(): GroupKeeping {
    return new GroupKeeping({ ...this.#context, clock: this.#clock, sessions: this.#openSessions });
  }

  get layout(): Layout {
    return this.#layout;
  }

  get index(): ObjectIndex {
    return this.#index;
  }

  get packs(): PackTable {
    return this.#context.packs;
  }

  get source(): ObjectSource {
    return this.#context.source;
  }

  /** Sessions that ended without commit and still have leftovers for a retry. */
  get unfinishedSessions(): readonly SessionRecord[] {
    return this.#unfinished;
  }

  /**
   * Opens a backup session for a group.
   * @throws `not-owner` when the group belongs to somebody else, `datastore-maintenance`, `quota-exceeded`, `disk-full` below the
   * low-space limit.
   */
  async openSession(request: SessionRequest): Promise<BackupSession> {
    return await this.#context.rootTurn.run(() => this.#openSessionInTurn(request));
  }

  async #openSessionInTurn(request: SessionRequest): Promise<BackupSession> {
    const limits = await requireWritable(this.#layout, 'backups');
    const state = await this.#groups.state(request.ns, request.group);
    if (state !== undefined && state.owner !== '' && state.owner !== request.owner) {
      throw new HoldfastError('not-owner', `group ${request.group} belongs to ${state.owner}, not to ${request.owner}`);
    }
    const allowance = await this.#allowances.enter(limits, request);
    try {
      return await this.#openAllowed(request, allowance);
    } catch (error) {
      this.#allowances.leave(allowance, false);
      throw error;
    }
  }

  async #openAllowed(request: SessionRequest, allowance: AllowanceDescriptor): Promise<BackupSession> {
    const key = request.key === undefined ? undefined : objectKeyOf(request.key);
    const fingerprint = request.key?.fingerprint ?? request.fingerprint;
    const space = await describingRootErrors(this.#layout.root, () =>
      sessionSpace({ layout: this.#layout, groups: this.#groups, index: this.#index }, { ...request, fingerprint }),
    );
    if (key !== undefined) this.source.unlock(space, key);
    const record: SessionRecord = {
      format: 1,
      session: randomBytes(16).toString('hex'),
      kind: 'backup',
      ns: request.ns,
      group: request.group,
      owner: request.owner,
      space,
      opened: new Date().toISOString(),
      openedClockMs: this.#clock.elapsedMs,
    };
    await describingRootErrors(this.#layout.root, () => writeSessionFile(this.#layout, record));
    const adopted = this.#unfinished.filter(
      (other) =>
        other.ns === record.ns &&
        other.group === record.group &&
        other.owner === record.owner &&
        other.space === record.space,
    );
    const leftovers = adopted.map((other) => this.#leftovers.get(other.session) ?? new Uint32Array(0));
    const session = await BackupSession.open(this.#context, record, {
      key,
      fingerprint,
      compressionLevel: request.compressionLevel,
      countsScopeOnly: request.countsScopeOnly ?? false,
      allowance,
      ownerManifests: await this.#manifestsOf(request.owner),
      adopted,
      leftovers,
      onEnded: (committed) => {
        this.#allowances.leave(allowance, committed);
        this.#sessionEnded(record, committed ? adopted : [], committed);
      },
    });
    this.#openSessions.set(record.session, session);
    return session;
  }

  /**
   * Opens snapshots of a group for a reader elsewhere. What they reach stays until it ends, also when they are forgotten.
   * @throws `not-found`, `manifest-altered`, `bad-argument` when they are not all of one key, `datastore-maintenance`.
   */
  async openReader(request: ReadRequest): Promise<ReadSession> {
    return await this.#context.rootTurn.run(async () => {
      await requireOnline(this.#layout);
      const reader = await ReadSession.open(this.#context, request, () => this.#openReaders.delete(reader));
      this.#openReaders.add(reader);
      return reader;
    });
  }

  /**
   * Counts what every snapshot takes, exactly, and keeps the figures in `accounting.json`.
   * @throws `datastore-locked` while a garbage collection or another count runs.
   */
  async account(signal: AbortSignal, warn: (message: string) => void): Promise<Accounting> {
    await requireWritable(this.#layout, 'accounting');
    return await this.#alone(() => accountAll({ ...this.#context }, signal, warn));
  }

  /** The figures of the last count; undefined when there was none. */
  async accounting(): Promise<Accounting | undefined> {
    return await this.#accounting.read();
  }

  /** Whether the last count knew the very snapshots that are there. */
  async isAccountingCurrent(): Promise<boolean> {
    const accounting = await this.accounting();
    if (accounting === undefined) return false;
    const { snapshots, unreadable, goneSince } = await presentSnapshots(this.#groups, accounting);
    return goneSince + unreadable.length === 0 && snapshots.every(({ bytesUnique }) => bytesUnique !== null);
  }

  /**
   * Removes a snapshot; its removal is durable when this returns.
   * @throws `not-found`, `protected`, `retention-locked`.
   */
  async forget(name: SnapshotName): Promise<void> {
    await this.#context.rootTurn.run(() => this.#forgetInTurn(name));
  }

  async #forgetInTurn(name: SnapshotName): Promise<void> {
    await requireWritable(this.#layout, 'forgetting snapshots');
    let manifest: Manifest | undefined;
    try {
      manifest = await this.#groups.manifest(name);
    } catch (error) {
      // A manifest that cannot be read protects nothing any more; forgetting it is the way out.
      if (!(error instanceof HoldfastError) || error.code !== 'manifest-altered') throw error;
    }
    if (manifest !== undefined) refuseLocked(snapshotLabel(name), manifest.server, this.#clock.elapsedMs);
    if (manifest?.server.protected) {
      throw new HoldfastError(
        'protected',
        `${snapshotLabel(name)} is protected; remove the protection first: holdfast snapshot protect ${snapshotLabel(name)} --off`,
      );
    }
    // What open sessions may still name goes only when they have ended (rule S3).
    if (manifest !== undefined) {
      const path = this.#groups.manifestPath(name);
      for (const session of this.#openSessions.values()) await session.keepForgotten(path, rootsOf(manifest));
    }
    await describingRootErrors(this.#layout.root, () => this.#groups.remove(name));
  }

  /** Changes notes or protection of a snapshot. @throws `not-found`, `manifest-altered`. */
  async updateSnapshot(name: SnapshotName, change: { notes?: string; protected?: boolean }): Promise<Manifest> {
    // Member by member: a request of another process must not reach the lock, or anything else, through here.
    const { notes, protected: isProtected } = change;
    return await this.#changeServerPart(name, () => ({
      ...(notes === undefined ? {} : { notes }),
      ...(isProtected === undefined ? {} : { protected: isProtected }),
    }));
  }

  /**
   * Locks a snapshot for `forMs` from now, by the store clock: nothing removes it before, and nothing takes the lock back.
   * @throws `not-found`, `manifest-altered`, `bad-argument`, `too-large` beyond the datastore's policy, `retention-locked` when it is
   * locked for longer already.
   */
  async lockSnapshot(name: SnapshotName, forMs: number): Promise<{ lockedUntilClockMs: number; remainingMs: number }> {
    const { server } = await this.#changeServerPart(name, async (before) => {
      // Durable first: after a crash that sets the clock back, the same wish must not end before the lock that it has made.
      const clockMs = await describingRootErrors(this.#layout.root, () => this.#clock.persist());
      const maxMs = maxLockMs(this.config);
      return { lockedUntilClockMs: extendedLock(snapshotLabel(name), before, forMs, { clockMs, maxMs }) };
    });
    const remainingMs = remainingLockMs(server, this.#clock.elapsedMs);
    return { lockedUntilClockMs: server.lockedUntilClockMs ?? 0, remainingMs };
  }

  /** In the turn of the roots: two changes must not undo each other, and none may bring back a manifest that is being forgotten. */
  async #changeServerPart(
    name: SnapshotName,
    change: (before: Manifest['server']) => Partial<Manifest['server']> | Promise<Partial<Manifest['server']>>,
  ): Promise<Manifest> {
    await requireWritable(this.#layout, 'changing snapshots');
    return await this.#context.rootTurn.run(async () => {
      const manifest = await this.#groups.manifest(name);
      if (manifest === undefined)
        throw new HoldfastError(
          'not-found',
          `there is no snapshot ${snapshotLabel(name)}; see: holdfast snapshot list`,
        );
      const server = { ...manifest.server, ...(await change(manifest.server)) };
      await describingRootErrors(this.#layout.root, () =>
        this.#groups.rewrite(name, { client: manifest.client, server }),
      );
      return { ...manifest, server };
    });
  }

  /**
   * A garbage collection, to be run step by step: mark, plan, sweep, audit. Others use the store meanwhile. `use` gets it; two at once are
   * refused.
   * @throws `datastore-locked` when one is running.
   */
  async collectGarbage<Result>(options: GcOptions, use: (gc: GarbageCollection) => Promise<Result>): Promise<Result> {
    await requireWritable(this.#layout, 'garbage collection');
    return await this.#alone(() => use(new GarbageCollection(this.#gcContext(), options)));
  }

  /** Work that drops packs, or counts them: one at a time. */
  async #alone<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#isDropping)
      throw new HoldfastError(
        'datastore-locked',
        `${this.#layout.root}: a garbage collection, a repair or an accounting is running; wait for its end`,
      );
    this.#isDropping = true;
    try {
      return await describingRootErrors(this.#layout.root, work);
    } finally {
      this.#isDropping = false;
      // Whatever was dropped is in the snapshot on disk: it is written anew at close.
      this.#entriesInSnapshot = 0;
    }
  }

  /**
   * Salvages damaged packs and looks again at quarantined copies; a dry run changes nothing, and releases none.
   * @throws `datastore-locked` beside a garbage collection.
   */
  async repairPacks(dryRun: boolean, signal: AbortSignal): Promise<PackRepair> {
    if (!dryRun) await requireWritable(this.#layout, 'repair');
    return await this.#alone(async () => {
      const { layout, pool, source, packs } = this.#context;
      const context = {
        layout,
        ...this.#identity,
        index: this.#index,
        packs,
        settle: () => pool.all('store.settle', undefined),
      };
      const salvaged = await salvagePacks(context, dryRun, signal);
      const copiesReleased = dryRun
        ? 0
        : this.#quarantine.recheck((entry) => source.isGood(entry, this.#index.id(entry)));
      await this.#quarantine.flush();
      return { packs: salvaged, copiesReleased };
    });
  }

  /**
   * Verifies what is stored, beside everything else (src/datastore/verify).
   * @throws `datastore-locked` when a verification is running; `not-found`, `manifest-altered` for the snapshot asked for.
   */
  async verify(request: VerifyRequest, hooks: VerifyHooks): Promise<VerifyReport> {
    if (this.#isVerifying)
      throw new HoldfastError('datastore-locked', `${this.#layout.root}: a verification is running; wait for its end`);
    this.#isVerifying = true;
    try {
      return await describingRootErrors(this.#layout.root, () => verifyStore(this.#context, request, hooks));
    } finally {
      this.#isVerifying = false;
    }
  }

  #gcContext(): GcContext {
    const { pool, packs, rootTurn, withdrawnRoots } = this.#context;
    return {
      layout: this.#layout,
      pool,
      index: this.#index,
      packs,
      live: this.#live,
      rootTurn,
      rootSources: () => ({
        groups: this.#groups,
        index: this.#index,
        sessions: [...this.#openSessions.values(), ...this.#openReaders],
        leftovers: this.#leftovers.values(),
        withdrawn: withdrawnRoots,
      }),
      packsOfSessions: () => {
        const sessions = new Set([...this.#openSessions.keys(), ...this.#unfinished.map((record) => record.session)]);
        const sessionOf = sessions.size === 0 ? [] : sessionsOfPacks(this.#layout, packs, sessions);
        return new Set([...sessionOf.keys()].filter((pack) => sessionOf[pack] !== undefined));
      },
      failedSessions: () => this.#failedSessions,
    };
  }

  /** Closes everything; writes the index snapshot when it has become stale. Returns the bytes by which that file grew. */
  async close(): Promise<{ indexGrowthBytes: number }> {
    try {
      await describingRootErrors(this.#layout.root, () => this.#quarantine.flush());
      // What was done stays done: without the cache the next open is slower, with an older clock locks last longer.
      const growth = await this.#refreshSnapshot().catch(() => 0);
      await this.#clock.stop().catch(() => undefined);
      return { indexGrowthBytes: growth };
    } finally {
      this.#context.source.packs.close();
      this.#shared.close();
      this.#lock.release();
    }
  }

  async #refreshSnapshot(): Promise<number> {
    const beyond = this.#index.count - this.#entriesInSnapshot;
    if (beyond < Math.max(SNAPSHOT_WORTHWHILE, this.#index.count * SNAPSHOT_STALE_SHARE)) return 0;
    const before = this.#entriesInSnapshot * 48;
    const length = await this.#pool.call<number>(0, 'store.writeIndexSnapshot', undefined);
    this.#entriesInSnapshot = this.#index.count;
    return Math.max(0, length - before);
  }

  /** The manifests that the owner has now; they are read only when a session needs its whole scope. */
  async #manifestsOf(owner: string): Promise<string[]> {
    const paths: string[] = [];
    for (const ns of await this.#groups.namespaces()) {
      for (const group of await this.#groups.groups(ns)) {
        if ((await this.#groups.state(ns, group))?.owner !== owner) continue;
        for (const time of await this.#groups.times(ns, group))
          paths.push(this.#groups.manifestPath({ ns, group, time }));
      }
    }
    return paths;
  }

  #sessionEnded(record: SessionRecord, ended: readonly SessionRecord[], committed: boolean): void {
    this.#openSessions.delete(record.session);
    for (const other of ended) {
      // Another session that adopted it may have ended it before.
      const place = this.#unfinished.indexOf(other);
      if (place >= 0) this.#unfinished.splice(place, 1);
      this.#leftovers.delete(other.session);
    }
    if (committed) return;
    this.#failedSessions++;
    this.#unfinished.push(record);
    const { locator, source, packs } = this.#context;
    const found = findLeftovers(this.#layout, new Set([record.session]), packs, locator, source).get(record.session);
    if (found !== undefined) this.#leftovers.set(record.session, found);
  }
}
