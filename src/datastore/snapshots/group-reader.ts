// Reading groups and snapshots, and the wrapper that hides those of others: to whoever may not see a group it is not there.
import type { Manifest } from '../../schema/manifest.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import type { GroupState } from '../../schema/state-files.ts';
import type { GroupStore, SnapshotName } from './group-store.ts';

export type GroupReader = Pick<GroupStore, 'times' | 'manifest' | 'groups' | 'namespaces' | 'state'>;

/** Whether a group may be seen, by its owner; undefined is the owner of a group that does not say. */
export type MaySee = (ns: Namespace, owner: string | undefined) => boolean;

export class VisibleGroups implements GroupReader {
  readonly #groups: GroupReader;
  readonly #maySee: MaySee;

  constructor(groups: GroupReader, maySee: MaySee) {
    this.#groups = groups;
    this.#maySee = maySee;
  }

  async times(ns: Namespace, group: GroupName): Promise<number[]> {
    return (await this.#isVisible(ns, group)) ? await this.#groups.times(ns, group) : [];
  }

  async manifest(name: SnapshotName): Promise<Manifest | undefined> {
    return (await this.#isVisible(name.ns, name.group)) ? await this.#groups.manifest(name) : undefined;
  }

  async groups(ns: Namespace): Promise<GroupName[]> {
    const visible: GroupName[] = [];
    for (const group of await this.#groups.groups(ns)) if (await this.#isVisible(ns, group)) visible.push(group);
    return visible;
  }

  /** Namespaces are names only; what is in them is hidden by group. */
  async namespaces(under?: Namespace): Promise<Namespace[]> {
    return await this.#groups.namespaces(under);
  }

  async state(ns: Namespace, group: GroupName): Promise<GroupState | undefined> {
    const state = await this.#groups.state(ns, group);
    return state !== undefined && this.#maySee(ns, state.owner) ? state : undefined;
  }

  async #isVisible(ns: Namespace, group: GroupName): Promise<boolean> {
    return this.#maySee(ns, (await this.#groups.state(ns, group))?.owner);
  }
}
