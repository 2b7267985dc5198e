// qm destroy: a stopped guest goes, with all that is its own. The configuration goes last, so that what was cut off is done again.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { VmConfig } from '../config/vm-config.ts';
import { lockBackup, lockGuest } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { requireUnlocked } from './config-lock.ts';
import { removeGuestFiles } from './guest-files.ts';
import { requireStopped } from './machine-state.ts';
import { ownVolumes } from './owned-volumes.ts';
import { settle } from './put-away.ts';
import { releaseHost } from './release-host.ts';

export interface DestroyOptions {
  readonly signal?: AbortSignal | undefined;
  readonly skipLock?: boolean;
  /** Disks on any storage that bear its number and that its configuration does not name go too. */
  readonly destroyUnreferencedDisks?: boolean;
}

/** What these say is that the guest never became whole; who holds its lock knows that nobody works on it any more. */
const NEVER_WHOLE = ['create', 'clone'];

/** @throws `not-found`, `guest-running`, `guest-locked`, `protected`, and what freeing a volume throws: call it again then. */
export async function destroyVm(node: GuestNode, id: GuestId, options: DestroyOptions, report: Report): Promise<void> {
  const { signal } = options;
  await node.configs.read(id);
  const backupLock = await lockBackup(node.directory, id, { waitMs: 0, signal });
  try {
    const lock = await lockGuest(node.directory, id, { signal });
    try {
      await destroyLocked(node, id, options, report);
    } finally {
      lock.release();
    }
  } finally {
    backupLock.release();
  }
}

async function destroyLocked(
  node: GuestNode,
  id: GuestId,
  { signal, skipLock = false, destroyUnreferencedDisks = false }: DestroyOptions,
  report: Report,
): Promise<void> {
  const { config } = await node.configs.read(id);
  const isWhole = !NEVER_WHOLE.includes(config.values.get('lock') ?? '');
  if (!skipLock && isWhole) requireUnlocked(id, config);
  if (config.values.get('protection') === '1')
    throw new HoldfastError('protected', `VM ${id} is protected; holdfast vm set ${id} --protection 0 first`, {
      data: { vmid: id },
    });
  await settle(node, id, report);
  await requireStopped(node, id, `stop it first: holdfast vm stop ${id}`, signal);
  await releaseHost(node, id);
  await freeVolumes(node, id, config, destroyUnreferencedDisks || !isWhole, report);
  await node.configs.remove(id);
  await removeGuestFiles(node, id);
}

async function freeVolumes(
  node: GuestNode,
  id: GuestId,
  config: VmConfig,
  all: boolean,
  report: Report,
): Promise<void> {
  const volumes = new Set(ownVolumes(config, id));
  if (all)
    for (const { storage } of await node.storages.all())
      if (storage !== undefined && (await storage.status()).active)
        for (const volume of await storage.list({ vmid: id, content: 'images' })) volumes.add(volume.id);
  for (const volume of volumes) {
    try {
      const { storage, name } = await node.storages.resolve(volume);
      await storage.free(name);
      report.log(`freed ${volume}`);
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'not-found') throw error;
      report.warn(`${volume}: ${error.message}`);
    }
  }
}
