// Every snapshot that is there with its figures. Those that were accounted cost no more than the look at their directory: a label is
// never used again in a group, so the figures belong to it. Only manifests of later snapshots are read.
import type { AccountedSnapshot, Accounting } from '../../schema/accounting-file.ts';
import type { Manifest } from '../../schema/manifest.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { QuotaUsage } from '../limits/quota-ledger.ts';
import { withAncestors } from '../limits/quota-ledger.ts';
import type { GroupStore } from '../snapshots/group-store.ts';

export interface SnapshotFigures extends Omit<AccountedSnapshot, 'bytesUnique' | 'ns' | 'group'> {
  readonly ns: Namespace;
  readonly group: GroupName;
  /** Null when it was made after the last accounting; `bytesAttributed` is what its session stored then. */
  readonly bytesUnique: number | null;
}

export interface PresentSnapshots {
  readonly snapshots: readonly SnapshotFigures[];
  /** Manifests that cannot be used, as messages. */
  readonly unreadable: readonly string[];
  /** Accounted snapshots that are not there any more. */
  readonly goneSince: number;
}

export async function presentSnapshots(
  groups: GroupStore,
  accounting: Accounting | undefined,
): Promise<PresentSnapshots> {
  const accounted = new Map(accounting?.snapshots.map((row) => [keyOf(row), row]));
  const snapshots: SnapshotFigures[] = [];
  const unreadable: string[] = [];
  let known = 0;
  for (const ns of await groups.namespaces()) {
    for (const group of await groups.groups(ns)) {
      for (const time of await groups.times(ns, group)) {
        const name = { ns, group, time };
        const row = accounted.get(keyOf(name));
        if (row !== undefined) {
          known++;
          snapshots.push({ ...row, ns, group });
          continue;
        }
        try {
          const manifest = await groups.manifest(name);
          if (manifest !== undefined) snapshots.push({ ...name, ...figuresOf(manifest), bytesUnique: null });
        } catch (error) {
          if (!(error instanceof HoldfastError) || error.code !== 'manifest-altered') throw error;
          unreadable.push(error.message);
        }
      }
    }
  }
  return { snapshots, unreadable, goneSince: accounted.size - known };
}

/** What a manifest says by itself. */
export function figuresOf({
  client,
  server,
}: Manifest): Omit<AccountedSnapshot, 'ns' | 'group' | 'time' | 'bytesUnique'> {
  return {
    owner: server.owner,
    bytesLogical: client.archives.reduce((sum, archive) => sum + archive.sizeBytes, 0),
    bytesStored: server.bytesStored ?? null,
    bytesNew: client.statistics.bytesNew,
    bytesAttributed: server.bytesStored ?? 0,
    suspectClock: server.suspectClock,
  };
}

/** Usage as quotas count it: each byte once, for the oldest snapshot that reaches it; of later snapshots what their sessions stored. */
export function usageOf(snapshots: readonly SnapshotFigures[]): QuotaUsage {
  const namespaces = new Map<string, number>();
  const owners = new Map<string, number>();
  for (const { ns, owner, bytesAttributed } of snapshots) {
    for (const each of withAncestors(ns)) namespaces.set(each, (namespaces.get(each) ?? 0) + bytesAttributed);
    owners.set(owner, (owners.get(owner) ?? 0) + bytesAttributed);
  }
  return {
    namespaceBytes: (ns) => namespaces.get(ns) ?? 0,
    ownerBytes: (owner) => owners.get(owner) ?? 0,
  };
}

function keyOf({ ns, group, time }: { ns: string; group: string; time: number }): string {
  return `${ns}|${group}|${time}`;
}
