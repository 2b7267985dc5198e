// The groups of a datastore with what was read of them, checked against the file system each time: a group as long as its directory did not
// change, a manifest as long as its file did not.
import type { GroupReader } from '../../datastore/snapshots/group-reader.ts';
import type { GroupStore, SnapshotName } from '../../datastore/snapshots/group-store.ts';
import { type KnownGroup, KnownGroups } from '../../datastore/snapshots/known-groups.ts';
import type { Manifest } from '../../schema/manifest.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import type { GroupState } from '../../schema/state-files.ts';
import { RememberedFiles } from '../../util/remembered-files.ts';

/** Bytes of the files of one datastore's manifests. */
const MAX_MANIFEST_BYTES = 32 * 1024 * 1024;
/** A manifest of many archives is as cheap to read as to keep. */
const MAX_ONE_MANIFEST_BYTES = 16 * 1024;

/** Groups whose states and manifests are files. */
export type GroupFiles = Pick<
  GroupStore,
  keyof GroupReader | 'groupPath' | 'manifestPath' | 'clientLogPath' | 'labels'
>;

export class RememberedGroups implements GroupReader {
  readonly #files: GroupFiles;
  readonly #groups: KnownGroups;
  readonly #manifests: RememberedFiles<Manifest>;

  constructor(files: GroupFiles, maxManifestBytes = MAX_MANIFEST_BYTES) {
    this.#files = files;
    this.#groups = new KnownGroups(files);
    this.#manifests = new RememberedFiles(maxManifestBytes);
  }

  async namespaces(under?: Namespace): Promise<Namespace[]> {
    return await this.#files.namespaces(under);
  }

  async groups(ns: Namespace): Promise<GroupName[]> {
    return await this.#files.groups(ns);
  }

  async times(ns: Namespace, group: GroupName): Promise<number[]> {
    return [...((await this.known(ns, group))?.times ?? [])];
  }

  async state(ns: Namespace, group: GroupName): Promise<GroupState | undefined> {
    return (await this.known(ns, group))?.state;
  }

  async manifest(name: SnapshotName): Promise<Manifest | undefined> {
    return await this.#manifests.get(this.#files.manifestPath(name), async ({ bytes }) => {
      const value = await this.#files.manifest(name);
      return value && { value, cost: bytes > MAX_ONE_MANIFEST_BYTES ? Number.POSITIVE_INFINITY : bytes };
    });
  }

  /** Undefined when the group has no directory. */
  async known(ns: Namespace, group: GroupName): Promise<KnownGroup | undefined> {
    return await this.#groups.get(ns, group);
  }
}
