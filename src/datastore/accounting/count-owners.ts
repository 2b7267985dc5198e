// Counts bytes on disk by who alone reaches them. What a node holds shares its owner or a higher one, so a walk that finds an object
// that already belongs to the visitor, or above it, need not go below: each object is opened at most once per level of the owner tree.
import { setImmediate } from 'node:timers/promises';
import { ID_BYTES, type ObjectId } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Root } from '../gc/roots.ts';
import type { IndexLocator, ObjectSource } from '../object-source.ts';
import type { OwnerTree } from './owner-tree.ts';

/** How long the thread may be busy before it looks after others. */
const SLICE_MS = 20;

export interface OwnedRoots {
  /** Node of the snapshot. */
  readonly node: number;
  readonly roots: readonly Root[];
}

export interface OwnedBytes {
  /** By node: bytes of records that belong to exactly it. */
  readonly owned: Float64Array;
  /** By node: bytes that were seen from it first. */
  readonly attributed: Float64Array;
  metadataRead: number;
  /** Objects that snapshots need and that have no good copy; what lies below them is not counted. */
  objectsUnreadable: number;
}

/** Walks from each snapshot in the order given; `snapshots` have all their nodes in `tree`. Copies of an object count once. */
export async function countOwners(
  locator: IndexLocator,
  source: ObjectSource,
  tree: OwnerTree,
  snapshots: Iterable<OwnedRoots>,
  signal: AbortSignal,
): Promise<OwnedBytes> {
  const { index } = locator;
  // A session that stores meanwhile adds entries beyond; no snapshot of this walk reaches them.
  const owners = new Int32Array(index.entryLimit);
  const counted: OwnedBytes = {
    owned: new Float64Array(tree.count + 1),
    attributed: new Float64Array(tree.count + 1),
    metadataRead: 0,
    objectsUnreadable: 0,
  };
  const unreadable = new Set<string>();
  const pending: Root[] = [];
  const visit = (node: number, { space, id }: Root): void => {
    const entry = standingFor(locator, space, id, owners.length);
    if (entry < 0) {
      unreadable.add(Buffer.from(id).toString('latin1'));
      return;
    }
    const before = owners[entry] as number;
    const after = before === 0 ? node : tree.join(before, node);
    if (after === before) return;
    const length = locator.length(entry);
    if (before === 0) counted.attributed[node]! += length;
    else counted.owned[before]! -= length;
    counted.owned[after]! += length;
    owners[entry] = after;
    if (!locator.isData(entry)) pending.push({ space, id });
  };
  const open = (node: number, { space, id }: Root): void => {
    try {
      const { refs } = source.refs(space, Buffer.from(id) as ObjectId);
      counted.metadataRead++;
      for (let at = 0; at < refs.length; at += ID_BYTES) visit(node, { space, id: refs.subarray(at, at + ID_BYTES) });
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      unreadable.add(Buffer.from(id).toString('latin1'));
    }
  };

  let sliceEnd = performance.now() + SLICE_MS;
  for (const { node, roots } of snapshots) {
    for (const root of roots) visit(node, root);
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      open(node, next);
      if (performance.now() < sliceEnd) continue;
      await setImmediate();
      signal.throwIfAborted();
      sliceEnd = performance.now() + SLICE_MS;
    }
  }
  counted.objectsUnreadable = unreadable.size;
  return counted;
}

/** The copy that counts for an object: always the same one, the good copy with the lowest number. */
function standingFor(locator: IndexLocator, space: number, id: Uint8Array, limit: number): number {
  let lowest = -1;
  for (let entry = locator.index.first(space, id); entry >= 0; entry = locator.index.next())
    if (entry < limit && (lowest < 0 || entry < lowest) && locator.isReadable(entry)) lowest = entry;
  return lowest;
}
