// What `datastore status` says about space: figures of the last accounting, of manifests made since, and of the file system. Opens no
// tree, and reads no manifest that was accounted.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Limits } from '../../schema/limits-file.ts';
import { systemCode } from '../../util/errors.ts';
import type { Layout } from '../layout.ts';
import { lowSpaceLimit, spaceOf } from '../limits/low-space.ts';
import { namespaceQuotaName, withAncestors } from '../limits/quota-ledger.ts';
import type { GroupStore } from '../snapshots/group-store.ts';
import { readAccounting } from './accounting-file.ts';
import { type Growth, growthOf } from './growth.ts';
import { type PresentSnapshots, presentSnapshots, type SnapshotFigures, usageOf } from './present-snapshots.ts';

/** Bytes of a group, or of a namespace with all below it. */
export interface SpaceRow {
  readonly ns: string;
  /** Null for a namespace. */
  readonly group: string | null;
  readonly snapshots: number;
  readonly bytesLogical: number;
  /** On disk, each byte counted for the oldest snapshot that needs it. */
  readonly bytesAttributed: number;
  /** What only its snapshots need: what removing all of them would free. As of the last accounting; null before the first. */
  readonly bytesExclusive: number | null;
  /** Attributed to it and needed elsewhere too, or the other way round when negative. Null before the first accounting. */
  readonly bytesShared: number | null;
}

export interface SpaceReport {
  /** When figures were counted last; null before the first accounting. */
  readonly accountedAt: string | null;
  readonly snapshotsSince: number;
  readonly forgottenSince: number;
  readonly unreadableManifests: readonly string[];
  readonly packs: number;
  readonly bytesOnDisk: number;
  readonly bytesLogical: number;
  readonly bytesLive: number | null;
  readonly bytesUnique: number | null;
  readonly bytesShared: number | null;
  /** In packs and not needed by any snapshot: garbage, and what running and unfinished backups stored. */
  readonly bytesPending: number | null;
  /** Logical bytes of all snapshots for each byte on disk. */
  readonly reductionRatio: number | null;
  /** Plain bytes for each byte that the sessions of these snapshots stored; with `dedupRatio` it makes the reduction. */
  readonly compressionRatio: number | null;
  readonly dedupRatio: number | null;
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly lowSpaceLimitBytes: number;
  readonly growth: Growth;
  readonly namespaces: readonly SpaceRow[];
  readonly groups: readonly SpaceRow[];
  readonly quotas: readonly { readonly name: string; readonly quotaBytes: number; readonly usedBytes: number }[];
}

export async function reportSpace(
  layout: Layout,
  groups: GroupStore,
  limits: Limits,
  now: number,
): Promise<SpaceReport> {
  const accounting = await readAccounting(layout);
  const present = await presentSnapshots(groups, accounting);
  const { snapshots } = present;
  const { packs, bytes: bytesOnDisk } = await packFiles(layout);
  const { totalBytes, freeBytes } = spaceOf(layout.root);
  const bytesLogical = sum(snapshots, (each) => each.bytesLogical);
  const bytesUnique = accounting === undefined ? null : sum(snapshots, (each) => each.bytesUnique ?? 0);
  const shared = new Map(accounting?.shared.map((row) => [`${row.ns}|${row.group ?? ''}`, row.bytes]));
  const known = accounting !== undefined;
  const reductionRatio = bytesOnDisk === 0 ? null : bytesLogical / bytesOnDisk;
  const compressionRatio = compressionOf(snapshots);
  return {
    accountedAt: accounting?.time ?? null,
    snapshotsSince: snapshots.filter((each) => each.bytesUnique === null).length,
    forgottenSince: present.goneSince,
    unreadableManifests: present.unreadable,
    packs,
    bytesOnDisk,
    bytesLogical,
    bytesLive: accounting?.bytesLive ?? null,
    bytesUnique,
    bytesShared: accounting === undefined ? null : sum(accounting.shared, (row) => row.bytes),
    bytesPending: accounting === undefined ? null : accounting.bytesRecords - accounting.bytesLive,
    reductionRatio,
    compressionRatio,
    dedupRatio: reductionRatio === null || compressionRatio === null ? null : reductionRatio / compressionRatio,
    freeBytes,
    totalBytes,
    lowSpaceLimitBytes: lowSpaceLimit(limits.lowSpaceBytes, totalBytes),
    growth: growthOf(snapshots, freeBytes, now),
    namespaces: namespaceRows(snapshots, shared, known),
    groups: groupRows(snapshots, shared, known),
    quotas: quotasUsed(limits, present),
  };
}

/** Of the snapshots whose sessions noted what they stored. */
function compressionOf(snapshots: readonly SnapshotFigures[]): number | null {
  const noted = snapshots.filter(({ bytesStored }) => bytesStored !== null);
  const stored = sum(noted, (each) => each.bytesStored ?? 0);
  return stored === 0 ? null : sum(noted, (each) => each.bytesNew) / stored;
}

function groupRows(all: readonly SnapshotFigures[], shared: ReadonlyMap<string, number>, known: boolean): SpaceRow[] {
  const rows = new Map<string, SnapshotFigures[]>();
  for (const each of all) {
    const key = `${each.ns}|${each.group}`;
    rows.set(key, [...(rows.get(key) ?? []), each]);
  }
  return [...rows].map(([key, snapshots]) => {
    const { ns, group } = snapshots[0] as SnapshotFigures;
    return rowOf(ns, group, snapshots, known ? (shared.get(key) ?? 0) : null);
  });
}

/** A namespace holds those below it. */
function namespaceRows(
  all: readonly SnapshotFigures[],
  shared: ReadonlyMap<string, number>,
  known: boolean,
): SpaceRow[] {
  const names = new Set(all.flatMap(({ ns }) => withAncestors(ns)));
  return [...names].sort().map((ns) => {
    const isBelow = (other: string): boolean => ns === '' || other === ns || other.startsWith(`${ns}/`);
    const within = sum([...shared], ([key, bytes]) => (isBelow(key.slice(0, key.indexOf('|'))) ? bytes : 0));
    return rowOf(
      ns,
      null,
      all.filter((each) => isBelow(each.ns)),
      known ? within : null,
    );
  });
}

function rowOf(
  ns: string,
  group: string | null,
  snapshots: readonly SnapshotFigures[],
  sharedWithin: number | null,
): SpaceRow {
  const bytesAttributed = sum(snapshots, (each) => each.bytesAttributed);
  const bytesExclusive = sharedWithin === null ? null : sharedWithin + sum(snapshots, (each) => each.bytesUnique ?? 0);
  return {
    ns,
    group,
    snapshots: snapshots.length,
    bytesLogical: sum(snapshots, (each) => each.bytesLogical),
    bytesAttributed,
    bytesExclusive,
    bytesShared: bytesExclusive === null ? null : bytesAttributed - bytesExclusive,
  };
}

function quotasUsed({ quotas }: Limits, { snapshots }: PresentSnapshots): SpaceReport['quotas'] {
  const usage = usageOf(snapshots);
  return [
    ...Object.entries(quotas.namespaces).map(([ns, quotaBytes]) => ({
      name: namespaceQuotaName(ns),
      quotaBytes,
      usedBytes: usage.namespaceBytes(ns),
    })),
    ...Object.entries(quotas.owners).map(([owner, quotaBytes]) => ({
      name: `owner ${owner}`,
      quotaBytes,
      usedBytes: usage.ownerBytes(owner),
    })),
  ];
}

async function packFiles(layout: Layout): Promise<{ packs: number; bytes: number }> {
  const names = await readdir(layout.packs);
  let bytes = 0;
  for (const name of names) {
    try {
      bytes += (await stat(join(layout.packs, name))).size;
    } catch (error) {
      // Sealed or dropped while this looks.
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }
  return { packs: names.length, bytes };
}

function sum<Each>(all: readonly Each[], of: (each: Each) => number): number {
  return all.reduce((total, each) => total + of(each), 0);
}
