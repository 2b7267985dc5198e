// The server's part of a manifest that exists, changed. In the turn of the roots: two must not undo each other, and none may bring back a
// manifest that is being forgotten.
import type { Manifest } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type GroupStore, type SnapshotName, snapshotLabel } from './group-store.ts';

type ServerPart = Manifest['server'];

/** Durable when this returns. @throws `not-found`, `manifest-altered`. */
export async function changeServerPart(
  groups: Pick<GroupStore, 'manifest' | 'rewrite'>,
  name: SnapshotName,
  change: (before: ServerPart) => Partial<ServerPart> | Promise<Partial<ServerPart>>,
): Promise<Manifest> {
  const manifest = await groups.manifest(name);
  if (manifest === undefined)
    throw new HoldfastError('not-found', `there is no snapshot ${snapshotLabel(name)}; see: holdfast snapshot list`);
  const server = { ...manifest.server, ...(await change(manifest.server)) };
  await groups.rewrite(name, { client: manifest.client, server });
  return { ...manifest, server };
}
