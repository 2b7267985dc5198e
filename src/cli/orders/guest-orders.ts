// Runs an order on a virtual machine of this host with the code of `holdfast vm backup` and `holdfast vm restore`, as far as this host allows.
import type { AgentConfig } from '../../agent/service/agent-config.ts';
import { requireAllowedGuest } from '../../agent/service/allowed-guests.ts';
import { AllowedPlaces } from '../../agent/service/allowed-places.ts';
import { ZSTD_LEVELS } from '../../schema/compression.ts';
import { parseGuestId } from '../../schema/guest-names.ts';
import type { VmBackupOrder, VmRestoreOrder } from '../../transport/control/orders.ts';
import type { KeyOptions } from '../client-key.ts';
import { DEFAULT_IO_PRIORITY, DEFAULT_LOCKWAIT_MINUTES, performVmBackup } from '../commands/vm-backup.ts';
import { performVmRestore } from '../commands/vm-restore.ts';
import type { Surroundings } from '../surroundings.ts';

/** `common` is what all orders have: repository, key and the like. @throws `not-allowed`, and what the command does. */
export async function runVmBackupOrder(
  order: VmBackupOrder,
  config: AgentConfig,
  common: KeyOptions,
  around: Surroundings,
): Promise<void> {
  requireAllowedGuest(config, 'allowGuestBackup', parseGuestId(order.vmid));
  const scripts = new AllowedPlaces('allowScript', config.allowScript ?? []);
  await performVmBackup(
    String(order.vmid),
    {
      ...common,
      ...placeOf(config),
      mode: order.mode ?? 'snapshot',
      lockwait: String(order.lockwait ?? DEFAULT_LOCKWAIT_MINUTES),
      ionice: String(order.ionice ?? DEFAULT_IO_PRIORITY),
      compressionLevel: String(order['compression-level'] ?? ZSTD_LEVELS.default),
      protected: order.protected ?? false,
      ...(order['fleecing-storage'] !== undefined && { fleecingStorage: order['fleecing-storage'] }),
      ...(order['fleecing-limit'] !== undefined && { fleecingLimit: order['fleecing-limit'] }),
      ...(order.bwlimit !== undefined && { bwlimit: String(order.bwlimit) }),
      ...(order.script !== undefined && { script: await scripts.resolve(order.script) }),
      ...(order['notes-template'] !== undefined && { notesTemplate: order['notes-template'] }),
      ...(order.time !== undefined && { time: order.time }),
      ...(order['limit-upload'] !== undefined && { limitUpload: String(order['limit-upload']) }),
    },
    around,
  );
}

/** @throws `not-allowed`, and what the command does. */
export async function runVmRestoreOrder(
  order: VmRestoreOrder,
  config: AgentConfig,
  common: KeyOptions,
  around: Surroundings,
): Promise<void> {
  requireAllowedGuest(config, 'allowGuestRestore', parseGuestId(order.newid));
  await performVmRestore(
    order.snapshot,
    String(order.newid),
    {
      ...common,
      ...placeOf(config),
      force: order.force ?? false,
      unique: order.unique ?? false,
      start: order.start ?? false,
      liveRestore: order['live-restore'] ?? false,
      ...(order.storage !== undefined && { storage: order.storage }),
      ...(order.format !== undefined && { format: order.format }),
      ...(order.bwlimit !== undefined && { bwlimit: String(order.bwlimit) }),
      ...(order['limit-download'] !== undefined && { limitDownload: String(order['limit-download']) }),
    },
    around,
  );
}

function placeOf({ nodeDirectory }: AgentConfig): { nodeDir?: string } {
  return nodeDirectory === undefined ? {} : { nodeDir: nodeDirectory };
}
