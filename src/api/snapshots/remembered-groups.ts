// The groups of a datastore with what was read of them, checked against the file system each time: a group as long as its directory did not
// change, a manifest as long as its file did not.
import type { GroupReader } from '../../datastore/snapshots/group-reader.ts';
import type { GroupStore, SnapshotName } from '../../datastore/snapshots/group-store.ts';
import type { Manifest } from '../../schema/manifest.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import type { GroupState } from '../../schema/state-files.ts';
import { RememberedFiles } from '../../util/remembered-files.ts';

/** A directory that changed so shortly before it was read may have changed again within the same tick of its clock. */
const SETTLED_MS = 1000;
const MAX_GROUPS = 50_000;
/** Bytes of the files of one datastore's manifests. */
const MAX_MANIFEST_BYTES = 32 * 1024 * 1024;
/** A manifest of many archives is as cheap to read as to keep. */
const MAX_ONE_MANIFEST_BYTES = 16 * 1024;

interface KnownGroup {
  readonly state: GroupState | undefined;
  /** Unix seconds, oldest first. */
  readonly times: readonly number[];
}

/** Groups whose states and manifests are files. */
export type GroupFiles = Pick<
  GroupStore,
  keyof GroupReader | 'groupPath' | 'manifestPath' | 'clientLogPath' | 'labels'
>;

export class RememberedGroups implements GroupReader {
  readonly #files: GroupFiles;
  readonly #groups = new RememberedFiles<KnownGroup>(MAX_GROUPS);
  readonly #manifests: RememberedFiles<Manifest>;

  constructor(files: GroupFiles, maxManifestBytes = MAX_MANIFEST_BYTES) {
    this.#files = files;
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
    return await this.#groups.get(this.#files.groupPath(ns, group), async ({ changedMs }) => {
      const isOld = Date.now() - changedMs > SETTLED_MS;
      const { times, isSettled } = await this.#files.labels(ns, group);
      const state = await this.#files.state(ns, group);
      return { value: { state, times }, cost: isOld && isSettled ? 1 : Number.POSITIVE_INFINITY };
    });
  }
}
