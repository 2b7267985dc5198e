// Owner and labels of groups, kept as long as the directory of each stays as it is: everything that changes one of them changes that.
import type { GroupName, Namespace } from '../../schema/names.ts';
import type { GroupState } from '../../schema/state-files.ts';
import { RememberedFiles } from '../../util/remembered-files.ts';
import type { GroupStore } from './group-store.ts';

/** A directory that changed so shortly before it was read may have changed again within the same tick of its clock. */
const SETTLED_MS = 1000;
const MAX_GROUPS = 50_000;

export interface KnownGroup {
  readonly state: GroupState | undefined;
  /** Unix seconds, oldest first. */
  readonly times: readonly number[];
}

export class KnownGroups {
  readonly #files: Pick<GroupStore, 'groupPath' | 'labels' | 'state'>;
  readonly #groups = new RememberedFiles<KnownGroup>(MAX_GROUPS);

  constructor(files: Pick<GroupStore, 'groupPath' | 'labels' | 'state'>) {
    this.#files = files;
  }

  /** Undefined when the group has no directory. */
  async get(ns: Namespace, group: GroupName): Promise<KnownGroup | undefined> {
    return await this.#groups.get(this.#files.groupPath(ns, group), async ({ changedMs }) => {
      const isOld = Date.now() - changedMs > SETTLED_MS;
      const { times, isSettled } = await this.#files.labels(ns, group);
      const state = await this.#files.state(ns, group);
      return { value: { state, times }, cost: isOld && isSettled ? 1 : Number.POSITIVE_INFINITY };
    });
  }
}
