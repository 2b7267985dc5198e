// A datastore as its one holder sees it: opened with recovery, it gives out sessions, commits them, and changes snapshots.
// Order of everything durable: session file, packs, high-water marks, manifest; the reverse when something goes (docs/design.md).
import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import type { Accounting } from '../schema/accounting-file.ts';
import type { Manifest } from '../schema/manifest.ts';
import type { DatastoreConfig, SessionRecord } from '../schema/state-files.ts';
import { HoldfastError } from '../util/errors.ts';
import { SharedBuffers } from '../util/shared-buffers.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { accountAll } from './accounting/account.ts';
import { RememberedAccounting } from './accounting/accounting-file.ts';
import { presentSnapshots } from './accounting/present-snapshots.ts';
import { describeRootError, describingRootErrors, readConfig } from './config.ts';
import { GarbageCollection, type GcContext, type GcOptions } from './gc/collect-garbage.ts';
import { lockedError } from './holder-record.ts';
import type { EntrySet } from './index/entry-set.ts';
import type { ObjectIndex } from './index/object-index.ts';
import { Layout } from './layout.ts';
import { requireOnline, requireWritable } from './limits/maintenance.ts';
import { SessionAllowances } from './limits/session-allowances.ts';
import { type HeldLock, tryHold } from './lock.ts';
import type { ObjectSource } from './object-source.ts';
import { type OpenedStore, openHeld } from './open-held.ts';
import type { PackTable } from './packs/pack-table.ts';
import type { QuarantineList } from './quarantine.ts';
import { type PackRepair, salvagePacks } from './repair/salvage-packs.ts';
import type { BackupSession } from './sessions/backup-session.ts';
import type { ReadRequest, ReadSession } from './sessions/read-session.ts';
import type { SessionContext } from './sessions/session-context.ts';
import { type SessionRequest, StoreSessions } from './sessions/store-sessions.ts';
import { GroupKeeping } from './snapshots/group-keeping.ts';
import type { GroupStore, SnapshotName } from './snapshots/group-store.ts';
import { SnapshotKeeping } from './snapshots/snapshot-keeping.ts';
import type { StoreClock } from './store-clock.ts';
import { type VerifyHooks, type VerifyReport, type VerifyRequest, verifyStore } from './verify/verify-store.ts';

/** The snapshot on disk is written anew when this share of the entries is not in it, */
const SNAPSHOT_STALE_SHARE = 1 / 16;
/** and at least so many: 12,500 load from footers in 30 to 40 ms of CPU, and a file of 48 bytes an entry is saved. */
const SNAPSHOT_WORTHWHILE = 16384;

export class HeldDatastore {
  readonly config: DatastoreConfig;
  /** What the user should know about what was found at open. */
  readonly warnings: readonly string[];
  /** What is done to groups and namespaces, beside their snapshots. */
  readonly keeping: GroupKeeping;
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
  readonly #accounting: RememberedAccounting;
  readonly #sessions: StoreSessions;
  readonly #snapshots: SnapshotKeeping;
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
    this.#quarantine = opened.context.quarantine;
    this.#live = opened.live;
    this.#identity = opened.identity;
    this.#clock = opened.clock;
    this.#entriesInSnapshot = opened.entriesInSnapshot;
    const allowances = new SessionAllowances(this.#layout, this.#groups, this.#accounting);
    this.#sessions = new StoreSessions(this.#context, allowances, opened);
    const context = { ...this.#context, config: this.config, clock: this.#clock, sessions: this.#sessions };
    this.keeping = new GroupKeeping(context);
    this.#snapshots = new SnapshotKeeping(context);
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

  /** Milliseconds of the store clock, by which locks end. */
  get clockMs(): number {
    return this.#clock.elapsedMs;
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
    return this.#sessions.unfinished;
  }

  /**
   * Opens a backup session for a group.
   * @throws `not-owner` when the group belongs to somebody else, `datastore-maintenance`, `quota-exceeded`, `disk-full` below the
   * low-space limit.
   */
  async openSession(request: SessionRequest): Promise<BackupSession> {
    return await this.#sessions.openBackup(request);
  }

  /** Opens snapshots of a group for a reader elsewhere. @throws as `StoreSessions.openReader`. */
  async openReader(request: ReadRequest): Promise<ReadSession> {
    return await this.#sessions.openReader(request);
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

  /** Removes a snapshot; its removal is durable when this returns. @throws as `SnapshotKeeping.forget`. */
  async forget(name: SnapshotName): Promise<void> {
    await this.#snapshots.forget(name);
  }

  /** For prune. @throws as `SnapshotKeeping.forgetUnlessHeld`. */
  async forgetUnlessHeld(name: SnapshotName): Promise<boolean> {
    return await this.#snapshots.forgetUnlessHeld(name);
  }

  /** Changes notes or protection of a snapshot. `mayClear`: for somebody who may settle anomalies. @throws as `SnapshotKeeping.update`. */
  async updateSnapshot(
    name: SnapshotName,
    change: { notes?: string; protected?: boolean },
    mayClear: boolean,
  ): Promise<Manifest> {
    return await this.#snapshots.update(name, change, mayClear);
  }

  /** Locks a snapshot for `forMs` from now, by the store clock. @throws as `SnapshotKeeping.lock`. */
  async lockSnapshot(name: SnapshotName, forMs: number): Promise<{ lockedUntilClockMs: number; remainingMs: number }> {
    return await this.#snapshots.lock(name, forMs);
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
        sessions: this.#sessions.open,
        leftovers: this.#sessions.leftovers,
        withdrawn: withdrawnRoots,
      }),
      packsOfSessions: () => this.#sessions.packs(),
      failedSessions: () => this.#sessions.failed,
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
}
