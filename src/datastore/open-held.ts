// The steps of opening a store under its lock: epoch, index, recovery of what an unclean stop left, quarantine, clock, what unfinished
// sessions left; then the pool's threads join.
import type { DatastoreConfig, SessionRecord } from '../schema/state-files.ts';
import { syncDirectory } from '../util/atomic-file.ts';
import { DurableDirectories } from '../util/durable-directories.ts';
import type { SharedBuffers } from '../util/shared-buffers.ts';
import { Turn } from '../util/turn.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { raiseEpoch } from './holder-record.ts';
import { EntrySet } from './index/entry-set.ts';
import { loadIndex } from './index/load-index.ts';
import { joinThreads } from './join-threads.ts';
import type { Layout } from './layout.ts';
import { IndexLocator, ObjectSource } from './object-source.ts';
import { emptyCondemned } from './packs/condemned.ts';
import { holdersPackFiles } from './packs/pack-files.ts';
import { PackReader } from './packs/pack-reader.ts';
import { recoverPacks } from './packs/recover-packs.ts';
import { QuarantineList } from './quarantine.ts';
import { findLeftovers, type Leftovers } from './sessions/leftovers.ts';
import type { SessionContext } from './sessions/session-context.ts';
import { unfinishedSessions } from './sessions/unfinished.ts';
import { GroupStore } from './snapshots/group-store.ts';
import { fingerprintOf, syncSpaces } from './spaces.ts';
import { StoreClock } from './store-clock.ts';

/** A store that was opened, in its parts. */
export interface OpenedStore {
  readonly config: DatastoreConfig;
  readonly warnings: readonly string[];
  readonly context: SessionContext;
  /** What the running garbage collection knows as live. */
  readonly live: EntrySet;
  readonly identity: { readonly storeId: Buffer; readonly epoch: number };
  readonly clock: StoreClock;
  readonly unfinished: SessionRecord[];
  readonly leftovers: Leftovers;
  readonly entriesInSnapshot: number;
}

/** Opens what `layout` names; the caller has the lock, and releases it when this throws. @throws `datastore-damaged`. */
export async function openHeld(
  layout: Layout,
  config: DatastoreConfig,
  shared: SharedBuffers,
  pool: WorkerPool,
): Promise<OpenedStore> {
  const epoch = await raiseEpoch(layout);
  // Names that an earlier process made but did not live to sync.
  for (const path of [layout.packs, layout.condemned, layout.sessions]) await syncDirectory(path);
  await syncSpaces(layout);
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
  // A pack that could not be read as a whole may have held what snapshots need.
  if (warnings.length > 0) quarantine.expectMissing();
  const locator = new IndexLocator(index, packs, (entry) => quarantine.add(entry));
  const source = new ObjectSource(locator, new PackReader(layout, packs), (space) => fingerprintOf(layout, space));
  const directories = new DurableDirectories(layout.root);
  const groups = new GroupStore(layout, directories);
  const clock = await StoreClock.start(layout.clock);
  const unfinished = await unfinishedSessions(layout, groups, clock);
  const sessionIds = new Set(unfinished.map((record) => record.session));
  const leftovers = await findLeftovers(layout, sessionIds, packs, locator, source);
  const live = new EntrySet();
  await joinThreads(pool, shared, {
    root: layout.root,
    storeId: config.store,
    epoch,
    packs: packs.buffer,
    live: live.buffer,
    snapshot: undefined,
    keys: [],
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
  return {
    config,
    warnings: [...warnings, ...recovery.warnings],
    context,
    live,
    identity: { storeId, epoch },
    clock,
    unfinished,
    leftovers,
    entriesInSnapshot,
  };
}
