// From what the user typed to a snapshot.
import type { GroupStore, SnapshotName } from '../datastore/snapshots/group-store.ts';
import type { Manifest } from '../schema/manifest.ts';
import { parseSnapshotRef } from '../schema/names.ts';
import { HoldfastError } from '../util/errors.ts';
import { type CommonOptions, namespaceOf } from './repository.ts';

/** Resolves `latest` without reading manifests. @throws `not-found`. */
export async function resolveSnapshot(groups: GroupStore, text: string, options: CommonOptions): Promise<SnapshotName> {
  const { group, time } = parseSnapshotRef(text);
  const ns = namespaceOf(options);
  const times = await groups.times(ns, group);
  const wanted = time ?? times.at(-1);
  if (wanted === undefined || !times.includes(wanted)) {
    const where = ns === '' ? '' : ` in namespace ${ns}`;
    throw new HoldfastError('not-found', `there is no snapshot ${text}${where}; see: holdfast snapshot list ${group}`);
  }
  return { ns, group, time: wanted };
}

/** @throws `not-found`, `manifest-altered`. */
export async function findSnapshot(
  groups: GroupStore,
  text: string,
  options: CommonOptions,
): Promise<{ name: SnapshotName; manifest: Manifest }> {
  const name = await resolveSnapshot(groups, text, options);
  const manifest = await groups.manifest(name);
  if (manifest === undefined)
    throw new HoldfastError('not-found', `there is no snapshot ${text}; it holds no manifest`);
  return { name, manifest };
}
