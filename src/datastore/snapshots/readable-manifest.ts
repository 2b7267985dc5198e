import type { Manifest } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { GroupStore, SnapshotName } from './group-store.ts';

/** A group's manifest; undefined when it is gone or altered. The snapshot is reported by list and restore; for what is asked here it does not serve. */
export async function readableManifest(groups: GroupStore, name: SnapshotName): Promise<Manifest | undefined> {
  try {
    return await groups.manifest(name);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'manifest-altered') return undefined;
    throw error;
  }
}
