// A datastore as its one holder sees it: opened with recovery, it gives out sessions, commits them, and changes snapshots.
// Order of everything durable: session file, packs, high-water marks, manifest; the reverse when something goes (docs/design.md).
import { randomBytes, randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { PLAIN_SPACE } from '../chunker/object.ts';
import type { Accounting } from '../schema/accounting-file.ts';
import type { Limits } from '../schema/limits-file.ts';
import type { Manifest } from '../schema/manifest.ts';
import type { GroupName, Namespace } from '../schema/names.ts';
import type { DatastoreConfig, SessionRecord } from '../schema/state-files.ts';
import { syncDirectory } from '../util/atomic-file.ts';
import { DurableDirectories } from '../util/durable-directories.ts';
import { HoldfastError } from '../util/errors.ts';
import { SharedBuffers } from '../util/shared-buffers.ts';
import { Turn } from '../util/turn.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { accountAll } from './accounting/account.ts';
import { readAccounting } from './accounting/accounting-file.ts';
import { presentSnapshots, usageOf } from './accounting/present-snapshots.ts';
import { describeRootError, describingRootErrors, readConfig } from './config.ts';
import { GarbageCollection, type GcContext, type GcOptions } from './gc/collect-garbage.ts';
import { rootsOf } from './gc/roots.ts';
import { lockedError, raiseEpoch } from './holder-record.ts';
import { EntrySet } from './index/entry-set.ts';
import { loadIndex } from './index/load-index.ts';
import type { ObjectIndex } from './index/object-index.ts';
import { joinThreads } from './join-threads.ts';
import { Layout } from './layout.ts';
import type { AllowanceDescriptor, QuotaShare } from './limits/allowance.ts';
import { lowSpaceLimit, requireSpace, spaceOf } from './limits/low-space.ts';
import { requireOnline, requireWritable } from './limits/maintenance.ts';
import { QuotaLedger } from './limits/quota-ledger.ts';
import { type HeldLock, tryHold } from './lock.ts';
import { IndexLocator, ObjectSource } from './object-source.ts';
import { emptyCondemned } from './packs/condemned.ts';
import { holdersPackFiles } from './packs/pack-files.ts';
import { PackReader } from './packs/pack-reader.ts';
import type { PackTable } from './packs/pack-table.ts';
import { recoverPacks } from './packs/recover-packs.ts';
import { QuarantineList } from './quarantine.ts';
import { BackupSession, type SessionContext } from './sessions/backup-session.ts';
import { findLeftovers, type Leftovers, sessionsOfPacks } from './sessions/leftovers.ts';
import { writeSessionFile } from './sessions/session-files.ts';
import { unfinishedSessions } from './sessions/unfinished.ts';
import { GroupStore, type SnapshotName, snapshotLabel } from './snapshots/group-store.ts';
import { StoreClock } from './store-clock.ts';

/** The snapshot on disk is written anew when this share of the entries is not in it, */
const SNAPSHOT_STALE_SHARE = 1 / 16;
/** and at least so many: fewer load from footers in some 20 ms at the rate measured for 10 M, and a file of 48 bytes an entry is saved. */
const SNAPSHOT_WORTHWHILE = 65536;

export interface SessionRequest {
  readonly ns: Namespace;
  readonly group: GroupName;
  readonly owner: string;
  readonly compressionLevel: number;
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
  readonly #groups: GroupStore;
  readonly #clock: StoreClock;
  readonly #quarantine: QuarantineList;
  readonly #unfinished: SessionRecord[];
  readonly #leftovers: Leftovers;
  readonly #openSessions = new Map<string, BackupSession>();
  readonly #quotas = new QuotaLedger();
  #failedSessions = 0;
  #collecting = false;
  #entriesInSnapshot: number;

  private constructor(parts: {
    config: DatastoreConfig;
    warnings: string[];
    layout: Layout;
    lock: HeldLock;
    shared: SharedBuffers;
    pool: WorkerPool;
    context: SessionContext;
    live: EntrySet;
    clock: StoreClock;
    unfinished: SessionRecord[];
    leftovers: Leftovers;
    entriesInSnapshot: number;
  }) {
    this.config = parts.config;
    this.warnings = parts.warnings;
    this.#layout = parts.layout;
    this.#lock = parts.lock;
    this.#shared = parts.shared;
    this.#pool = parts.pool;
    this.#context = parts.context;
    this.#live = parts.live;
    this.#index = parts.context.locator.index;
    this.#groups = parts.context.groups;
    this.#quarantine = parts.context.quarantine;
    this.#clock = parts.clock;
    this.#unfinished = parts.unfinished;
    this.#leftovers = parts.leftovers;
    this.#entriesInSnapshot = parts.entriesInSnapshot;
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
      return await HeldDatastore.#openLocked(layout, config, lock, shared, pool);
    } catch (error) {
      shared.close();
      lock.release();
      throw describeRootError(layout.root, error);
    }
  }

  static async #openLocked(
    layout: Layout,
    config: DatastoreConfig,
    lock: HeldLock,
    shared: SharedBuffers,
    pool: WorkerPool,
  ): Promise<HeldDatastore> {
    const epoch = await raiseEpoch(layout);
    // Names that an earlier process made but did not live to sync.
    for (const path of [layout.packs, layout.condemned, layout.sessions]) await syncDirectory(path);
    const storeId = Buffer.from(config.store, 'hex');
    const { index, packs, entriesBeyondSnapshot, warnings } = loadIndex(
      layout,
      storeId,
      shared,
      holdersPackFiles(layout),
    );
    const entriesInSnapshot = index.count - entriesBeyondSnapshot;
    const recovery = await recoverPacks(layout, packs, index, { storeId, epoch });
    await emptyCondemned(layout);
    const quarantine = await QuarantineList.load(layout, index, packs);
    const locator = new IndexLocator(index, packs, (entry) => quarantine.add(entry));
    const source = new ObjectSource(locator, new PackReader(layout, packs));
    const directories = new DurableDirectories(layout.root);
    const groups = new GroupStore(layout, directories);
    const clock = await StoreClock.start(layout.clock);
    const unfinished = await unfinishedSessions(layout, groups, clock);
    const leftovers = findLeftovers(
      layout,
      new Set(unfinished.map((record) => record.session)),
      packs,
      locator,
      source,
    );
    const live = new EntrySet();
    await joinThreads(pool, shared, {
      root: layout.root,
      storeId: config.store,
      epoch,
      packs: packs.buffer,
      live: live.buffer,
      snapshot: undefined,
    });
    const context: SessionContext = {
      layout,
      pool,
      groups,
      locator,
      source,
      packs,
      quarantine,
      storeId: config.store,
      groupTurns: new Map(),
      rootTurn: new Turn(),
      withdrawnRoots: [],
    };
    return new HeldDatastore({
      config,
      warnings: [...warnings, ...recovery.warnings],
      layout,
      lock,
      shared,
      pool,
      context,
      live,
      clock,
      unfinished,
      leftovers,
      entriesInSnapshot,
    });
  }

  /** Threads report copies that they found bad through the pool's events. */
  noteQuarantined(entry: number): void {
    this.#quarantine.add(entry);
  }

  get groups(): GroupStore {
    return this.#groups;
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
    if (state !== undefined && state.owner !== request.owner) {
      throw new HoldfastError('not-owner', `group ${request.group} belongs to ${state.owner}, not to ${request.owner}`);
    }
    const allowance = await this.#allowanceFor(limits, request);
    try {
      return await this.#openAllowed(request, allowance);
    } catch (error) {
      this.#quotas.leave(allowance.quotas, 0, false);
      throw error;
    }
  }

  async #openAllowed(request: SessionRequest, allowance: AllowanceDescriptor): Promise<BackupSession> {
    const record: SessionRecord = {
      format: 1,
      session: randomBytes(16).toString('hex'),
      kind: 'backup',
      ns: request.ns,
      group: request.group,
      owner: request.owner,
      space: PLAIN_SPACE,
      opened: new Date().toISOString(),
      openedClockMs: this.#clock.elapsedMs,
    };
    await describingRootErrors(this.#layout.root, () => writeSessionFile(this.#layout, record));
    const adopted = this.#unfinished.filter(
      (other) => other.ns === record.ns && other.group === record.group && other.owner === record.owner,
    );
    const leftovers = adopted.map((other) => this.#leftovers.get(other.session) ?? new Uint32Array(0));
    const session = await BackupSession.open(this.#context, record, {
      compressionLevel: request.compressionLevel,
      allowance,
      ownerManifests: await this.#manifestsOf(request.owner),
      adopted,
      leftovers,
      onEnded: (committed) => {
        const stored = Number(Atomics.load(new BigInt64Array(allowance.stored), 0));
        this.#quotas.leave(allowance.quotas, stored, committed);
        this.#sessionEnded(record, committed ? adopted : [], committed);
      },
    });
    this.#openSessions.set(record.session, session);
    return session;
  }

  /** What a session may store under the limits of this moment. @throws `quota-exceeded`, `disk-full`. */
  async #allowanceFor(limits: Limits, request: SessionRequest): Promise<AllowanceDescriptor> {
    const { root } = this.#layout;
    const lowSpaceBytes = lowSpaceLimit(limits.lowSpaceBytes, spaceOf(root).totalBytes);
    requireSpace(root, lowSpaceBytes);
    return { root, lowSpaceBytes, quotas: await this.#quotasOf(limits, request), stored: new SharedArrayBuffer(8) };
  }

  async #quotasOf(limits: Limits, request: SessionRequest): Promise<readonly QuotaShare[]> {
    const { namespaces, owners } = limits.quotas;
    if (Object.keys(namespaces).length === 0 && Object.keys(owners).length === 0) return [];
    const { snapshots } = await presentSnapshots(this.#groups, await readAccounting(this.#layout));
    return this.#quotas.enter(limits, usageOf(snapshots), request);
  }

  /**
   * Counts what every snapshot takes, exactly, and keeps the figures in `accounting.json`.
   * @throws `datastore-locked` while a garbage collection or another count runs.
   */
  async account(signal: AbortSignal, warn: (message: string) => void): Promise<Accounting> {
    await requireWritable(this.#layout, 'accounting');
    return await this.#excludingCollection(() => accountAll({ ...this.#context }, signal, warn));
  }

  /**
   * Removes a snapshot; its removal is durable when this returns.
   * @throws `not-found`, `protected`.
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
    await requireWritable(this.#layout, 'changing snapshots');
    const manifest = await this.#groups.manifest(name);
    if (manifest === undefined)
      throw new HoldfastError('not-found', `there is no snapshot ${snapshotLabel(name)}; see: holdfast snapshot list`);
    const server = { ...manifest.server, ...change };
    await describingRootErrors(this.#layout.root, () =>
      this.#groups.rewrite(name, { client: manifest.client, server }),
    );
    return { ...manifest, server };
  }

  /**
   * A garbage collection, to be run step by step: mark, plan, sweep, audit. Others use the store meanwhile. `use` gets it; two at once are
   * refused.
   * @throws `datastore-locked` when one is running.
   */
  async collectGarbage<Result>(options: GcOptions, use: (gc: GarbageCollection) => Promise<Result>): Promise<Result> {
    await requireWritable(this.#layout, 'garbage collection');
    try {
      return await this.#excludingCollection(() => use(new GarbageCollection(this.#gcContext(), options)));
    } finally {
      // Whatever was dropped is in the snapshot on disk: it is written anew at close.
      this.#entriesInSnapshot = 0;
    }
  }

  async #excludingCollection<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#collecting)
      throw new HoldfastError(
        'datastore-locked',
        `${this.#layout.root}: a garbage collection or an accounting is running; wait for its end`,
      );
    this.#collecting = true;
    try {
      return await describingRootErrors(this.#layout.root, work);
    } finally {
      this.#collecting = false;
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
        sessions: this.#openSessions.values(),
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
      this.#unfinished.splice(this.#unfinished.indexOf(other), 1);
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
