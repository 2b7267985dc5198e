// `lock` in a configuration: an operation that takes long and must not be mixed with others. It outlives a crash, so that nobody takes what is half done for whole.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type VmConfig, withSettings } from '../config/vm-config.ts';
import type { GuestNode } from '../guest-node.ts';

/** Proxmox's words for it. */
export type ConfigLock = 'backup' | 'clone' | 'create' | 'rollback' | 'snapshot' | 'snapshot-delete' | 'suspended';

/** @throws `guest-locked`. */
export function requireUnlocked(id: GuestId, config: VmConfig): void {
  const lock = config.values.get('lock');
  if (lock === undefined) return;
  throw new HoldfastError(
    'guest-locked',
    `VM is locked (${lock}): wait for the operation to end; if it was cut off, clean up with: holdfast vm unlock ${id}`,
    { data: { vmid: id, lock } },
  );
}

/** Call with the guest's lock. */
export async function setConfigLock(node: GuestNode, id: GuestId, lock: ConfigLock): Promise<void> {
  const { config, digest } = await node.configs.read(id);
  requireUnlocked(id, config);
  await node.configs.write(id, withSettings(config, { lock }, []), { digest });
}

/** Call with the guest's lock. Takes away `lock` only; another's stays. */
export async function clearConfigLock(node: GuestNode, id: GuestId, lock?: ConfigLock): Promise<void> {
  const { config, digest } = await node.configs.read(id);
  const found = config.values.get('lock');
  if (found === undefined || (lock !== undefined && found !== lock)) return;
  await node.configs.write(id, withSettings(config, {}, ['lock']), { digest });
}
