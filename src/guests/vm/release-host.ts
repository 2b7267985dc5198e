// What a start made on the host for a guest's QEMU, and what of it outlives a QEMU that was killed: taps, the TPM's process, the control group.
import type { GuestId } from '../../schema/guest-names.ts';
import type { GuestNode } from '../guest-node.ts';
import { openControlGroup } from '../qemu/control-group.ts';
import { endTpm } from '../qemu/tpm.ts';
import { releaseNetworks } from './networks.ts';

/** Ends and deletes all of it; nothing there is no error. Call with the guest's lock, and when its QEMU has ended. @throws `timed-out`. */
export async function releaseHost({ directory }: GuestNode, id: GuestId): Promise<void> {
  await releaseNetworks(id);
  const group = await openControlGroup(id, {}, { node: directory.name });
  await endTpm(directory.run(id), group);
  // A process that has ended may still be on its way out.
  await group.kill();
  await group.remove();
}
