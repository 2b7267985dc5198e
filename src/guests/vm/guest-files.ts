// What a guest has on this host beside its configuration and its volumes, and how that goes.
import { rm } from 'node:fs/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import type { GuestNode } from '../guest-node.ts';

/** Removes the guest's own directory, its run directory and its firewall file. Call with the guest's lock, and with no QEMU of it running. */
export async function removeGuestFiles(node: GuestNode, id: GuestId): Promise<void> {
  await rm(node.directory.firewallFile(id), { force: true });
  await rm(node.directory.run(id).path, { recursive: true, force: true });
  // Last, for the lock is in it.
  await rm(node.directory.guestPath(id), { recursive: true, force: true });
}
