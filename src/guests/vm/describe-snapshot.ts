// The words beside a snapshot, changed.
import type { GuestId } from '../../schema/guest-names.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode } from '../guest-node.ts';
import { requireSnapshot } from './list-snapshots.ts';

/** @throws `not-found`, `guest-locked`. */
export async function describeSnapshot(node: GuestNode, id: GuestId, name: string, description: string): Promise<void> {
  await withGuestLock(node, id, {}, async () => {
    const { config } = await node.configs.read(id);
    const section = requireSnapshot(id, config, name);
    const described = { ...section, description: description === '' ? undefined : description };
    await node.configs.write(id, { ...config, snapshots: new Map([...config.snapshots, [name, described]]) });
  });
}
