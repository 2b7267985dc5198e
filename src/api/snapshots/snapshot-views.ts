// What lists show of a datastore: groups in their order, snapshots as rows. A row is kept in memory as long as its manifest did not change: a
// list opens only the manifests that it has not seen.
import { existsSync } from 'node:fs';
import type { HeldDatastore } from '../../datastore/held-datastore.ts';
import type { GroupStore, SnapshotName } from '../../datastore/snapshots/group-store.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { RememberedFiles } from '../../util/remembered-files.ts';
import { groupSortKey } from './group-order.ts';
import { type GroupFiles, RememberedGroups } from './remembered-groups.ts';
import { rowCost, rowOf, type SnapshotRow, unreadableRow } from './snapshot-row.ts';

/** Rows and their files that are kept of one datastore: some 100 MB. */
const MAX_ROWS = 400_000;

export interface GroupView {
  readonly name: GroupName;
  /** Undefined for a group that was removed, or never had a snapshot. */
  readonly owner: string | undefined;
  readonly notes: string;
  /** Unix seconds, oldest first. */
  readonly times: readonly number[];
}

/** The views of all open datastores. */
export class SnapshotViews {
  readonly #views = new WeakMap<HeldDatastore, SnapshotView>();

  of(store: HeldDatastore): SnapshotView {
    let view = this.#views.get(store);
    if (view === undefined) {
      view = new SnapshotView(store.groups);
      this.#views.set(store, view);
    }
    return view;
  }
}

export class SnapshotView {
  /** The groups and manifests themselves. */
  readonly reader: RememberedGroups;
  readonly #files: GroupFiles & Pick<GroupStore, 'namespacePath'>;
  readonly #rows = new RememberedFiles<SnapshotRow>(MAX_ROWS);

  constructor(files: GroupFiles & Pick<GroupStore, 'namespacePath'>) {
    this.#files = files;
    this.reader = new RememberedGroups(files);
  }

  hasNamespace(ns: Namespace): boolean {
    return ns === '' || existsSync(this.#files.namespacePath(ns));
  }

  /** The groups of a namespace as lists show them, in their order. */
  async groups(ns: Namespace): Promise<readonly GroupView[]> {
    const found: { view: GroupView; key: string }[] = [];
    for (const name of await this.reader.groups(ns)) {
      const view = await this.#view(ns, name);
      if (view !== undefined) found.push({ view, key: groupSortKey(name) });
    }
    return found.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ view }) => view);
  }

  async group(ns: Namespace, name: GroupName): Promise<GroupView | undefined> {
    const view = await this.#view(ns, name);
    return view?.owner === undefined && view?.times.length === 0 ? undefined : view;
  }

  async #view(ns: Namespace, name: GroupName): Promise<GroupView | undefined> {
    const known = await this.reader.known(ns, name);
    if (known === undefined) return undefined;
    const { state, times } = known;
    return { name, owner: state?.owner === '' ? undefined : state?.owner, notes: state?.notes ?? '', times };
  }

  /** Undefined when the snapshot is not there any more. */
  async row(name: SnapshotName): Promise<SnapshotRow | undefined> {
    const look = { path: this.#files.manifestPath(name), beside: this.#files.clientLogPath(name) };
    return await this.#rows.get(look, async ({ bytes, besideBytes }) => {
      const value = await this.#readRow(name, bytes, besideBytes);
      return value && { value, cost: rowCost(value) };
    });
  }

  async #readRow(
    name: SnapshotName,
    manifestBytes: number,
    logBytes: number | undefined,
  ): Promise<SnapshotRow | undefined> {
    try {
      const manifest = await this.#files.manifest(name);
      return manifest === undefined ? undefined : rowOf(manifest, manifestBytes, logBytes);
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'manifest-altered') return unreadableRow();
      throw error;
    }
  }
}
