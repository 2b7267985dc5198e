// Groups whose manifests are kept in memory, each as long as time, size and number of its file stay: a question about all snapshots opens those
// that it has not seen. Bounded; the ones that were not asked for longest go first.
import { statSync } from 'node:fs';
import type { GroupReader } from '../../datastore/snapshots/group-reader.ts';
import type { GroupStore, SnapshotName } from '../../datastore/snapshots/group-store.ts';
import type { Manifest } from '../../schema/manifest.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { systemCode } from '../../util/errors.ts';

/** Some 2 KiB each with a few archives: 40 MiB of one datastore. */
const MAX_KEPT = 20_000;
/** A manifest of many archives is as cheap to read as to keep. */
const MAX_KEPT_BYTES = 16 * 1024;

/** Groups whose manifests are files. */
type ManifestFiles = GroupReader & Pick<GroupStore, 'manifestPath'>;

interface Kept {
  readonly stamp: string;
  readonly manifest: Manifest;
}

export class RememberedManifests implements GroupReader {
  readonly #groups: ManifestFiles;
  readonly #kept = new Map<string, Kept>();
  readonly #maxKept: number;

  constructor(groups: ManifestFiles, maxKept = MAX_KEPT) {
    this.#groups = groups;
    this.#maxKept = maxKept;
  }

  async manifest(name: SnapshotName): Promise<Manifest | undefined> {
    const path = this.#groups.manifestPath(name);
    const found = stampOf(path);
    const kept = this.#kept.get(path);
    this.#kept.delete(path);
    if (found === undefined) return undefined;
    if (kept?.stamp === found.stamp) {
      this.#kept.set(path, kept);
      return kept.manifest;
    }
    const manifest = await this.#groups.manifest(name);
    if (manifest === undefined || found.bytes > MAX_KEPT_BYTES || stampOf(path)?.stamp !== found.stamp) return manifest;
    this.#kept.set(path, { stamp: found.stamp, manifest });
    if (this.#kept.size > this.#maxKept) this.#kept.delete(this.#kept.keys().next().value as string);
    return manifest;
  }

  times(ns: Namespace, group: GroupName): Promise<number[]> {
    return this.#groups.times(ns, group);
  }

  groups(ns: Namespace): Promise<GroupName[]> {
    return this.#groups.groups(ns);
  }

  namespaces(under?: Namespace): Promise<Namespace[]> {
    return this.#groups.namespaces(under);
  }

  state(ns: Namespace, group: GroupName): ReturnType<GroupStore['state']> {
    return this.#groups.state(ns, group);
  }
}

/** Manifests are replaced by renaming: a changed one has another number. */
function stampOf(path: string): { readonly stamp: string; readonly bytes: number } | undefined {
  try {
    const { mtimeNs, size, ino } = statSync(path, { bigint: true });
    return { stamp: `${mtimeNs}:${size}:${ino}`, bytes: Number(size) };
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
