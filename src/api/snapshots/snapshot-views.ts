// What lists need of a datastore, kept in memory and checked against the file system each time: a group as long as its directory did not
// change, a snapshot as long as its manifest did not. A list opens only the manifests that it has not seen.
import { existsSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { HeldDatastore } from '../../datastore/held-datastore.ts';
import type { SnapshotName } from '../../datastore/snapshots/group-store.ts';
import { formatTime, type GroupName, type Namespace, parseTime } from '../../schema/names.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { groupSortKey } from './group-order.ts';
import { RememberedManifests } from './remembered-manifests.ts';
import { rowCost, rowOf, type SnapshotRow, unreadableRow } from './snapshot-row.ts';

/** A directory that changed so shortly before it was read may have changed again within the same tick of its clock. */
const SETTLED_MS = 1000;
/** Calls of `stat` in a row, some 0.3 ms. */
const LOOKS_IN_A_ROW = 64;
/** Rows and their files that are kept of one datastore: some 100 MB. */
const MAX_KEPT = 400_000;
/** Groups that are kept of one datastore. */
const MAX_GROUPS = 50_000;

export interface GroupView {
  readonly name: GroupName;
  /** Undefined for a group that was removed, or never had a snapshot. */
  readonly owner: string | undefined;
  readonly notes: string;
  /** Unix seconds, oldest first. */
  readonly times: readonly number[];
}

interface KeptGroup extends GroupView {
  readonly changed: bigint;
  /** May be used again while the directory stays as it was. */
  readonly isSettled: boolean;
  readonly sortKey: string;
}

interface KeptRow {
  readonly stamp: string;
  readonly row: SnapshotRow;
}

/** The views of all open datastores. */
export class SnapshotViews {
  readonly #views = new WeakMap<HeldDatastore, StoreView>();
  readonly #manifests = new WeakMap<HeldDatastore, RememberedManifests>();

  /** The groups of a datastore with the manifests that were read lately. */
  groupsOf(store: HeldDatastore): RememberedManifests {
    let manifests = this.#manifests.get(store);
    if (manifests === undefined) {
      manifests = new RememberedManifests(store.groups);
      this.#manifests.set(store, manifests);
    }
    return manifests;
  }

  of(store: HeldDatastore): StoreView {
    let view = this.#views.get(store);
    if (view === undefined) {
      view = new StoreView(store);
      this.#views.set(store, view);
    }
    return view;
  }
}

export class StoreView {
  readonly #store: HeldDatastore;
  readonly #groups = new Map<string, KeptGroup>();
  /** In the order of their last use. */
  readonly #rows = new Map<string, KeptRow>();
  #kept = 0;
  #looks = 0;

  constructor(store: HeldDatastore) {
    this.#store = store;
  }

  async hasNamespace(ns: Namespace): Promise<boolean> {
    return ns === '' || existsSync(this.#store.groups.namespacePath(ns));
  }

  /** The groups of a namespace as lists show them, in their order. */
  async groups(ns: Namespace): Promise<readonly GroupView[]> {
    const found: KeptGroup[] = [];
    for (const name of await this.#store.groups.groups(ns)) {
      const group = await this.#group(ns, name);
      if (group !== undefined) found.push(group);
    }
    return found.sort((a, b) => (a.sortKey < b.sortKey ? -1 : 1));
  }

  async group(ns: Namespace, name: GroupName): Promise<GroupView | undefined> {
    const group = await this.#group(ns, name);
    return group?.owner === undefined && group?.times.length === 0 ? undefined : group;
  }

  async #group(ns: Namespace, name: GroupName): Promise<KeptGroup | undefined> {
    const path = this.#store.groups.groupPath(ns, name);
    await this.#breathe();
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) {
      this.#groups.delete(path);
      return undefined;
    }
    const kept = this.#groups.get(path);
    if (kept?.isSettled && kept.changed === stat.mtimeNs) return kept;
    const group = await this.#readGroup(ns, name, path, stat.mtimeNs);
    if (this.#groups.size >= MAX_GROUPS) this.#groups.clear();
    this.#groups.set(path, group);
    return group;
  }

  async #readGroup(ns: Namespace, name: GroupName, path: string, changed: bigint): Promise<KeptGroup> {
    const readMs = Date.now();
    const times: number[] = [];
    let isWhole = true;
    for (const label of await labelsIn(path)) {
      await this.#breathe();
      // One that is being made appears without a change of the group's directory: it is looked for again.
      if (existsSync(join(path, label, 'manifest.json'))) times.push(parseTime(label));
      else isWhole = false;
    }
    const state = await this.#store.groups.state(ns, name);
    return {
      name,
      owner: state?.owner === '' ? undefined : state?.owner,
      notes: state?.notes ?? '',
      times: times.sort((a, b) => a - b),
      changed,
      isSettled: isWhole && readMs - Number(changed / 1_000_000n) > SETTLED_MS,
      sortKey: groupSortKey(name),
    };
  }

  /** Undefined when the snapshot is not there any more. */
  async row(name: SnapshotName): Promise<SnapshotRow | undefined> {
    const path = this.#store.groups.manifestPath(name);
    await this.#breathe();
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    const logBytes = statSync(this.#store.groups.clientLogPath(name), { throwIfNoEntry: false })?.size;
    const stamp = `${stat.mtimeNs} ${stat.size} ${stat.ino} ${logBytes}`;
    const kept = this.#rows.get(path);
    if (kept?.stamp === stamp) {
      this.#rows.delete(path);
      this.#rows.set(path, kept);
      return kept.row;
    }
    const row = await this.#readRow(name, Number(stat.size), logBytes);
    if (row !== undefined) this.#keep(path, { stamp, row });
    return row;
  }

  async #readRow(
    name: SnapshotName,
    manifestBytes: number,
    logBytes: number | undefined,
  ): Promise<SnapshotRow | undefined> {
    try {
      const manifest = await this.#store.groups.manifest(name);
      return manifest === undefined ? undefined : rowOf(manifest, manifestBytes, logBytes);
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'manifest-altered') return unreadableRow();
      throw error;
    }
  }

  #keep(path: string, kept: KeptRow): void {
    const before = this.#rows.get(path);
    if (before !== undefined) {
      this.#rows.delete(path);
      this.#kept -= rowCost(before.row);
    }
    this.#rows.set(path, kept);
    this.#kept += rowCost(kept.row);
    for (const [oldest, { row }] of this.#rows) {
      if (this.#kept <= MAX_KEPT) break;
      this.#rows.delete(oldest);
      this.#kept -= rowCost(row);
    }
  }

  /** Others get their turn between two of many looks. */
  async #breathe(): Promise<void> {
    if (++this.#looks % LOOKS_IN_A_ROW === 0) await setImmediate();
  }
}

async function labelsIn(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).filter(isLabel);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function isLabel(text: string): boolean {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text)) return false;
  const seconds = Date.parse(text) / 1000;
  return Number.isFinite(seconds) && seconds >= 0 && formatTime(seconds) === text;
}
