// Snapshots as rows for people and programs: the list of a namespace, and one in full.

import { Type } from 'typebox';
import type { Accounting } from '../../schema/accounting-file.ts';
import { Count, CountOrNull, TextOrNull } from '../../schema/answer-parts.ts';
import { ClientPart, type Manifest } from '../../schema/manifest.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Query, StoreView } from '../control/query.ts';
import type { Layout } from '../layout.ts';
import { persistedClockMs } from '../store-clock.ts';
import { Proofs } from '../verify/proofs.ts';
import { findSnapshot, type SnapshotRequest } from './find-snapshot.ts';
import { type SnapshotName, snapshotLabel } from './group-store.ts';
import { remainingLockMs } from './retention-lock.ts';

export interface ListedSnapshot {
  readonly snapshot: string;
  readonly time: number;
  readonly sequence: number | null;
  readonly owner: string | null;
  readonly bytes: number | null;
  /** What its session stored on disk. */
  readonly bytesStored: number | null;
  /** What only it needs, as of the last accounting. */
  readonly bytesUnique: number | null;
  readonly archives: readonly string[];
  readonly protected: boolean;
  /** Milliseconds of the store clock; null when it is not locked, or no longer. */
  readonly lockRemainingMs: number | null;
  readonly suspectClock: boolean;
  readonly damaged: boolean;
  /** Fingerprint of the key that encrypts it; null for a plain snapshot. */
  readonly key: string | null;
  readonly notes: string;
  /** Why the manifest cannot be used, when it cannot. */
  readonly error: string | null;
}

const ListedAnswer = Type.Object({
  snapshot: Type.String(),
  time: Count,
  sequence: CountOrNull,
  owner: TextOrNull,
  bytes: CountOrNull,
  bytesStored: CountOrNull,
  bytesUnique: CountOrNull,
  archives: Type.Array(Type.String()),
  protected: Type.Boolean(),
  lockRemainingMs: CountOrNull,
  suspectClock: Type.Boolean(),
  damaged: Type.Boolean(),
  key: TextOrNull,
  notes: Type.String(),
  error: TextOrNull,
});

/** All snapshots of a namespace or of one group, oldest first. */
export const listSnapshots: Query<
  { readonly ns: Namespace; readonly group: GroupName | null },
  readonly ListedSnapshot[]
> = {
  name: 'list',
  answer: Type.Array(ListedAnswer),
  run: async (view, { ns, group }, signal) => {
    const accounting = view.seesSizes ? await view.accounting() : undefined;
    const counted = accounting?.snapshots.filter((row) => row.ns === ns && (group === null || row.group === group));
    const unique = new Map(counted?.map((row) => [`${row.group}|${row.time}`, row.bytesUnique]));
    const locks = new LockClock(view.layout);
    const found: ListedSnapshot[] = [];
    for (const each of group === null ? await view.groups.groups(ns) : [group]) {
      for (const time of await view.groups.times(ns, each)) {
        signal.throwIfAborted();
        const row = await listed(view, { ns, group: each, time }, unique.get(`${each}|${time}`) ?? null, locks);
        if (row !== undefined) found.push(row);
      }
    }
    return found.sort((a, b) => a.time - b.time);
  },
};

export type ShownSnapshot = ClientPart &
  Manifest['server'] & {
    readonly snapshot: string;
    readonly lockRemainingMs: number | null;
    readonly bytesUnique: number | null;
    /** When the space was counted; null when it never was. */
    readonly accountedAt: string | null;
    readonly verified: { readonly time: string; readonly damaged: boolean } | null;
  };

const ShownAnswer = Type.Intersect([
  ClientPart,
  Type.Object({
    snapshot: Type.String(),
    sequence: Count,
    owner: Type.String(),
    protected: Type.Boolean(),
    notes: Type.String(),
    lockRemainingMs: CountOrNull,
    bytesUnique: CountOrNull,
    accountedAt: TextOrNull,
    verified: Type.Union([Type.Object({ time: Type.String(), damaged: Type.Boolean() }), Type.Null()]),
  }),
]);

/** One snapshot in full. */
export const showSnapshot: Query<SnapshotRequest, ShownSnapshot> = {
  name: 'show',
  answer: ShownAnswer,
  run: async (view, request, signal) => {
    const { name, manifest } = await findSnapshot.run(view, request, signal);
    const { layout, config, seesSizes } = view;
    const accounting = seesSizes ? await view.accounting() : undefined;
    const { bytesStored, ...server } = manifest.server;
    const proof = (await Proofs.load(layout.verifyState, config.store)).snapshot(manifest.server.session);
    return {
      snapshot: snapshotLabel(name),
      ...manifest.client,
      ...server,
      ...(seesSizes && bytesStored !== undefined && { bytesStored }),
      lockRemainingMs: await new LockClock(layout).remaining(manifest.server),
      bytesUnique: uniqueBytes(accounting, name),
      accountedAt: accounting?.time ?? null,
      verified: proof === undefined ? null : { time: new Date(proof.verifiedMs).toISOString(), damaged: proof.damaged },
    };
  },
};

const NOTHING_KNOWN = {
  sequence: null,
  owner: null,
  bytes: null,
  bytesStored: null,
  bytesUnique: null,
  archives: [],
  protected: false,
  lockRemainingMs: null,
  suspectClock: false,
  damaged: true,
  key: null,
  notes: '',
} as const;

/** Undefined when the directory holds no manifest: not a snapshot. */
async function listed(
  { groups, seesSizes }: StoreView,
  name: SnapshotName,
  bytesUnique: number | null,
  locks: LockClock,
): Promise<ListedSnapshot | undefined> {
  const base = { snapshot: snapshotLabel(name), time: name.time };
  let manifest: Manifest | undefined;
  try {
    manifest = await groups.manifest(name);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'manifest-altered') throw error;
    return { ...base, ...NOTHING_KNOWN, bytesUnique, error: error.message };
  }
  if (manifest === undefined) return undefined;
  const { client, server } = manifest;
  return {
    ...base,
    sequence: server.sequence,
    owner: server.owner,
    bytes: client.archives.reduce((sum, archive) => sum + archive.sizeBytes, 0),
    bytesStored: seesSizes ? (server.bytesStored ?? null) : null,
    bytesUnique,
    archives: client.archives.map((archive) => archive.name),
    protected: server.protected,
    lockRemainingMs: await locks.remaining(server),
    suspectClock: server.suspectClock,
    damaged: server.damaged,
    key: client.key,
    notes: server.notes,
    error: null,
  };
}

/** What forgetting it alone would free, as of the last accounting. */
function uniqueBytes(accounting: Accounting | undefined, { ns, group, time }: SnapshotName): number | null {
  const row = accounting?.snapshots.find((each) => each.ns === ns && each.group === group && each.time === time);
  return row?.bytesUnique ?? null;
}

/** The store clock, read once, and only when there is a lock: a store whose clock is damaged can still be listed. */
class LockClock {
  readonly #layout: Layout;
  #clockMs: number | undefined;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** Null without a lock, and of one that is over. */
  async remaining(server: Manifest['server']): Promise<number | null> {
    if (server.lockedUntilClockMs === undefined) return null;
    this.#clockMs ??= await persistedClockMs(this.#layout.clock);
    return remainingLockMs(server, this.#clockMs) || null;
  }
}
