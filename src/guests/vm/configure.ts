// qm set: settings changed and removed. What a running guest can take over at once it does; the rest is told, and waits for its next start.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { requireDigest } from '../config/config-store.ts';
import { isDiskKey, isUnusedKey } from '../config/drive.ts';
import type { VmConfig } from '../config/vm-config.ts';
import { findKey } from '../config/vm-keys.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { readRunningMachine } from '../qemu/running-machine.ts';
import { applyLive, undoLive } from './apply-live.ts';
import { checkGivenSettings } from './checked-settings.ts';
import { requireUnlocked } from './config-lock.ts';
import { lookAtMachine, withMonitor } from './machine-state.ts';
import { NewVolumes } from './new-volumes.ts';
import { withUnused } from './owned-volumes.ts';
import { type ConfigChange, type PlannedChange, planConfigChange } from './plan-config-change.ts';
import { settle } from './put-away.ts';
import { noteTakenOver, pendingChanges, readStartedConfig } from './started-config.ts';

export interface ConfigureRequest extends ConfigChange {
  /** It fails with `config-changed` when this is not the configuration's digest any more. */
  readonly digest?: string | undefined;
  readonly skipLock?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The keys that wait for the guest's next start.
 * @throws `config-changed`, `bad-argument`, `guest-locked`, `protected`, `timed-out` when a running guest does not let go of a disk; nothing is changed then.
 */
export async function configureVm(
  node: GuestNode,
  id: GuestId,
  change: ConfigureRequest,
  report: Report,
): Promise<string[]> {
  const { signal, remove } = change;
  const set = await checkGivenSettings(change.set, signal);
  for (const key of remove) {
    if (set[key] !== undefined)
      throw new HoldfastError('bad-argument', `${key}: it cannot be set and removed at once`, { data: { key } });
    if (findKey(key) === undefined)
      throw new HoldfastError('bad-argument', `'${key}' is no key of a virtual machine's configuration`, {
        data: { key },
      });
  }
  return await withGuestLock(node, id, { signal }, async () => {
    await settle(node, id, report);
    return await configureLocked(node, id, { ...change, set }, report);
  });
}

async function configureLocked(
  node: GuestNode,
  id: GuestId,
  change: ConfigureRequest,
  report: Report,
): Promise<string[]> {
  const { signal } = change;
  const { config, digest } = await node.configs.read(id);
  requireDigest(id, digest, change.digest);
  if (change.skipLock !== true) requireUnlocked(id, config);
  requireUnprotected(id, config, change);
  const volumes = new NewVolumes(node, id, report, signal);
  const isRunning = (await lookAtMachine(node, id, signal)).pid !== undefined;
  if (isRunning && change.set.template === '1')
    throw new HoldfastError('guest-running', `VM ${id} is running; stop it first`, { data: { vmid: id } });
  let done: PlannedChange;
  try {
    const planned = await planConfigChange(id, config, change, volumes);
    done = isRunning ? await carryOut(node, id, config, planned, report, signal) : planned;
    if (!isRunning) await node.configs.write(id, done.config, { digest });
  } catch (error) {
    await volumes.discard();
    throw error;
  }
  await freeRemoved(node, done.freed, report);
  const pending = (await pendingChanges(node, id)).map(({ key }) => key).filter((key) => done.keys.includes(key));
  if (pending.length > 0) report.log(`${pending.join(', ')}: takes effect when the guest is started the next time`);
  return pending;
}

/** On a running guest: what it can take over it takes over, then the configuration is written. Volumes that it still has open are put aside, not freed. */
async function carryOut(
  node: GuestNode,
  id: GuestId,
  config: VmConfig,
  planned: PlannedChange,
  report: Report,
  signal: AbortSignal | undefined,
): Promise<PlannedChange> {
  const before = (await readStartedConfig(node, id)) ?? config;
  return await withMonitor(
    node,
    id,
    async (monitor) => {
      const change = { node, id, monitor, before, after: planned.config, report, signal };
      // A backup swaps nodes of these disks.
      const taken = config.values.get('lock') === 'backup' ? [] : await applyLive(change, planned.keys);
      try {
        const { disks } = await readRunningMachine(node.directory.run(id));
        const open = planned.freed.filter((volume) => disks.some((disk) => disk.volume === volume));
        const values = withUnused(planned.config.values, open);
        const written = { ...planned.config, values };
        await node.configs.write(id, written);
        await noteTakenOver(node, id, values, taken);
        return { ...planned, config: written, freed: planned.freed.filter((volume) => !open.includes(volume)) };
      } catch (error) {
        await undoLive(change, taken);
        throw error;
      }
    },
    signal,
  );
}

function requireUnprotected(id: GuestId, config: VmConfig, { remove }: ConfigChange): void {
  if (config.values.get('protection') !== '1') return;
  const disk = remove.find((key) => isDiskKey(key) || isUnusedKey(key));
  if (disk !== undefined)
    throw new HoldfastError(
      'protected',
      `VM ${id} is protected, so ${disk} is not removed; set protection to 0 first`,
      { data: { vmid: id } },
    );
}

/** The configuration does not name them any more; what cannot be freed is told. */
async function freeRemoved(node: GuestNode, volumes: readonly string[], report: Report): Promise<void> {
  for (const volume of volumes) {
    try {
      const { storage, name } = await node.storages.resolve(volume);
      await storage.free(name);
      report.log(`freed ${volume}`);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      report.warn(`${volume} is left behind: ${error.message}`);
    }
  }
}
