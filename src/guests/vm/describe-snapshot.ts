// The words beside a snapshot, changed.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { lockGuest } from '../guest-lock.ts';
import type { GuestNode } from '../guest-node.ts';

/** @throws `not-found`, `guest-locked`. */
export async function describeSnapshot(node: GuestNode, id: GuestId, name: string, description: string): Promise<void> {
  await node.configs.read(id);
  const lock = await lockGuest(node.directory, id);
  try {
    const { config } = await node.configs.read(id);
    const section = config.snapshots.get(name);
    if (section === undefined)
      throw new HoldfastError('not-found', `VM ${id} has no snapshot '${name}'`, { data: { vmid: id } });
    const described = { ...section, description: description === '' ? undefined : description };
    await node.configs.write(id, { ...config, snapshots: new Map([...config.snapshots, [name, described]]) });
  } finally {
    lock.release();
  }
}
