// Which snapshots exist, and which ranges, or files, of their archives are damaged.
import type { Manifest } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { DamagedRange } from '../damage.ts';
import type { DamagedPath, TreeDamage } from '../damaged-paths.ts';
import { type GroupStore, type SnapshotName, snapshotLabel } from '../snapshots/group-store.ts';
import type { RangesRequest } from './verify-thread.ts';

export interface NamedManifest {
  readonly name: SnapshotName;
  readonly manifest: Manifest;
}

/** A manifest that is not what was written. */
export interface BadManifest {
  readonly ns: string;
  readonly snapshot: string;
  readonly error: string;
}

/** Damage of one archive; ranges in bytes, rising, none touching the next. A file tree has none, but damaged files. */
export interface ArchiveDamage {
  readonly ns: string;
  readonly snapshot: string;
  readonly archive: string;
  readonly ranges: readonly { offset: number; length: number }[];
  /** Of a file tree only. */
  readonly files?: TreeDamage;
  /** Encrypted, and the key is not here: something of it is damaged, and nobody can say where. */
  readonly withoutKey?: true;
}

/** Most ranges of a report, some 20 MiB of JSON; archives beyond it have one range that covers all their damage. */
const MAX_REPORTED_RANGES = 400_000;
/** Characters of damaged paths in a report; trees beyond it have only the number of theirs. */
const MAX_REPORTED_PATH_CHARS = 16 * 1024 * 1024;

/** Every snapshot of every namespace. */
export async function allSnapshots(groups: GroupStore): Promise<{ good: NamedManifest[]; bad: BadManifest[] }> {
  const good: NamedManifest[] = [];
  const bad: BadManifest[] = [];
  for (const ns of await groups.namespaces()) {
    for (const group of await groups.groups(ns)) {
      for (const time of await groups.times(ns, group)) {
        const name = { ns, group, time };
        try {
          const manifest = await groups.manifest(name);
          if (manifest !== undefined) good.push({ name, manifest });
        } catch (error) {
          if (!(error instanceof HoldfastError) || error.code !== 'manifest-altered') throw error;
          bad.push({ ns, snapshot: snapshotLabel(name), error: error.message });
        }
      }
    }
  }
  return { good, bad };
}

/** The damage of these snapshots. A snapshot that was forgotten meanwhile has none: garbage collection may have taken its data. */
export async function damageOf(
  pool: WorkerPool,
  groups: GroupStore,
  snapshots: readonly NamedManifest[],
  signal: AbortSignal,
): Promise<ArchiveDamage[]> {
  const found = new Map<NamedManifest, ArchiveDamage[]>();
  const waiting = byGroup(snapshots);
  const stop = new AbortController();
  const stopped = AbortSignal.any([signal, stop.signal]);
  const walkOn = async (thread: number): Promise<void> => {
    try {
      // Snapshots of a group share most of their trees, and each thread remembers what it has walked.
      for (let group = waiting.pop(); group !== undefined; group = waiting.pop()) {
        for (const snapshot of group) {
          stopped.throwIfAborted();
          found.set(snapshot, await archivesOf(pool, thread, snapshot));
        }
      }
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  };
  await Promise.all(Array.from({ length: pool.size }, (_, thread) => walkOn(thread)));
  const damaged: ArchiveDamage[] = [];
  for (const snapshot of snapshots) {
    const archives = found.get(snapshot) ?? [];
    if (archives.length > 0 && (await isStillThere(groups, snapshot))) damaged.push(...archives);
  }
  return bounded(damaged);
}

function byGroup(snapshots: readonly NamedManifest[]): NamedManifest[][] {
  const groups = new Map<string, NamedManifest[]>();
  for (const snapshot of snapshots) {
    const key = `${snapshot.name.ns}|${snapshot.name.group}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [snapshot]);
    else group.push(snapshot);
  }
  return [...groups.values()];
}

async function archivesOf(pool: WorkerPool, thread: number, snapshot: NamedManifest): Promise<ArchiveDamage[]> {
  const { name, manifest } = snapshot;
  const damaged: ArchiveDamage[] = [];
  for (const archive of manifest.client.archives) {
    const request: RangesRequest = { space: manifest.server.space, archive };
    const where = { ns: name.ns, snapshot: snapshotLabel(name), archive: archive.name };
    // Of a tree, unless its key is not here.
    const files = await pool.call<TreeDamage | undefined>(thread, 'verify.files', request);
    if (files !== undefined) {
      if (files.count > 0) damaged.push({ ...where, ranges: [], files });
      continue;
    }
    const ranges = await pool.call<DamagedRange[]>(thread, 'verify.ranges', request);
    if (ranges.length === 0) continue;
    const plain = ranges.map(({ offset, length }) => ({ offset, length }));
    damaged.push({ ...where, ranges: plain, ...(ranges[0]?.withoutKey ? { withoutKey: true as const } : {}) });
  }
  return damaged;
}

async function isStillThere(groups: GroupStore, { name, manifest }: NamedManifest): Promise<boolean> {
  return (await groups.manifest(name))?.server.session === manifest.server.session;
}

function bounded(damaged: readonly ArchiveDamage[]): ArchiveDamage[] {
  let count = 0;
  let pathChars = 0;
  return damaged.map((archive) => {
    if (archive.files !== undefined) {
      pathChars += charsOf(archive.files.first);
      return pathChars <= MAX_REPORTED_PATH_CHARS ? archive : { ...archive, files: { ...archive.files, first: [] } };
    }
    count += archive.ranges.length;
    if (count <= MAX_REPORTED_RANGES) return archive;
    const [first, last] = [archive.ranges[0], archive.ranges.at(-1)] as { offset: number; length: number }[];
    const { offset } = first as { offset: number };
    const { offset: start, length } = last as { offset: number; length: number };
    return { ...archive, ranges: [{ offset, length: start + length - offset }] };
  });
}

function charsOf(paths: readonly DamagedPath[]): number {
  return paths.reduce((sum, { path, pathBytes = '' }) => sum + path.length + pathBytes.length, 0);
}
