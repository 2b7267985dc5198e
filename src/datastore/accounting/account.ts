// An accounting run: who alone holds which bytes, over all snapshots, exactly, and kept in accounting.json. It excludes garbage
// collection, which moves records; everything else goes on beside it.
import type { Accounting } from '../../schema/accounting-file.ts';
import type { Manifest } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import { rootsOf } from '../gc/roots.ts';
import { LENGTH_MASK, Word } from '../index/index-entry.ts';
import type { ObjectIndex } from '../index/object-index.ts';
import type { Layout } from '../layout.ts';
import { withAncestors } from '../limits/quota-ledger.ts';
import type { IndexLocator, ObjectSource } from '../object-source.ts';
import { PackState, type PackTable } from '../packs/pack-table.ts';
import type { GroupStore, SnapshotName } from '../snapshots/group-store.ts';
import { writeAccounting } from './accounting-file.ts';
import { countOwners, type OwnedBytes } from './count-owners.ts';
import { OwnerTree } from './owner-tree.ts';
import { figuresOf } from './present-snapshots.ts';

export interface AccountingSources {
  readonly layout: Layout;
  readonly groups: GroupStore;
  readonly locator: IndexLocator;
  readonly source: ObjectSource;
  readonly packs: PackTable;
}

/** Counts everything and writes the figures down. Manifests that cannot be read are left out, and said through `warn`. */
export async function accountAll(
  sources: AccountingSources,
  signal: AbortSignal,
  warn: (message: string) => void,
): Promise<Accounting> {
  const started = performance.now();
  const time = new Date().toISOString();
  const tree = new OwnerTree();
  const found = await snapshotsOf(sources.groups, warn);
  const owned = found.map(({ name, manifest }) => ({ node: tree.snapshot(name), roots: rootsOf(manifest) }));
  const counted = await countOwners(sources.locator, sources.source, tree, owned, signal);
  const accounting: Accounting = {
    format: 1,
    time,
    durationMs: Math.round(performance.now() - started),
    metadataRead: counted.metadataRead,
    objectsUnreadable: counted.objectsUnreadable,
    bytesLive: counted.owned.reduce((sum, bytes) => sum + bytes, 0),
    bytesRecords: bytesOfRecords(sources.locator.index, sources.packs),
    snapshots: found.map(({ name, manifest }) => ({
      ...name,
      ...figuresOf(manifest),
      bytesUnique: counted.owned[tree.snapshot(name)] as number,
      bytesAttributed: counted.attributed[tree.snapshot(name)] as number,
    })),
    shared: sharedOf(
      found.map(({ name }) => name),
      tree,
      counted,
    ),
  };
  await writeAccounting(sources.layout, accounting);
  return accounting;
}

interface Found {
  readonly name: SnapshotName;
  readonly manifest: Manifest;
}

/** All snapshots, oldest first: the first to reach an object is the one that it is attributed to. */
async function snapshotsOf(groups: GroupStore, warn: (message: string) => void): Promise<Found[]> {
  const found: Found[] = [];
  for (const ns of await groups.namespaces())
    for (const group of await groups.groups(ns))
      for (const time of await groups.times(ns, group)) {
        const name = { ns, group, time };
        try {
          const manifest = await groups.manifest(name);
          if (manifest !== undefined) found.push({ name, manifest });
        } catch (error) {
          if (!(error instanceof HoldfastError) || error.code !== 'manifest-altered') throw error;
          warn(`not counted: ${error.message}`);
        }
      }
  return found.sort((a, b) => a.name.time - b.name.time);
}

/** What snapshots of a group share with each other alone, and groups of a namespace. */
function sharedOf(names: readonly SnapshotName[], tree: OwnerTree, counted: OwnedBytes): Accounting['shared'] {
  const nodes = new Map<number, Accounting['shared'][number]>();
  const add = (node: number, ns: string, group: string | null): void => {
    nodes.set(node, { ns, group, bytes: counted.owned[node] as number });
  };
  add(tree.namespace(''), '', null);
  for (const { ns, group } of names) {
    for (const each of withAncestors(ns)) add(tree.namespace(each), each, null);
    add(tree.group(ns, group), ns, group);
  }
  return [...nodes.values()];
}

/** Bytes of all records that packs hold, live or not, copies included. */
function bytesOfRecords(index: ObjectIndex, packs: PackTable): number {
  let bytes = 0;
  for (const entry of index.entries()) {
    const { words, base } = index.words(entry);
    if (packs.state(words[base + Word.pack] as number) === PackState.dropped) continue;
    bytes += (words[base + Word.lengthAndFlags] as number) & LENGTH_MASK;
  }
  return bytes;
}
