// qm start: a configuration becomes a running guest. Nothing is left behind when it does not.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { dropBitmapRecords, readBitmapRecords } from '../bitmaps/bitmap-records.ts';
import { reconcileBitmaps } from '../bitmaps/qemu-bitmaps.ts';
import { fileDisks, loadSidecars, type Trust, trustedSidecars } from '../bitmaps/sidecars.ts';
import type { VmConfig } from '../config/vm-config.ts';
import { keysWithoutEffect } from '../config/vm-keys.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { chooseAccelerator } from '../qemu/accelerator.ts';
import { commandLine } from '../qemu/command-line.ts';
import { openControlGroup } from '../qemu/control-group.ts';
import { machineTypes } from '../qemu/machine-type.ts';
import { planDisks } from '../qemu/plan-disks.ts';
import { planMachine } from '../qemu/plan-machine.ts';
import { endQemu, findQemu, startQemu } from '../qemu/qemu-process.ts';
import { runningDisk, writeRunningMachine } from '../qemu/running-machine.ts';
import { endTpm, planTpm, prepareTpm, withTpm } from '../qemu/tpm.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import { requireUnlocked } from './config-lock.ts';
import { runGuestHook } from './guest-hook.ts';
import { markPaused } from './held-still.ts';
import { connectNetworks, netDevices } from './networks.ts';
import { settle } from './put-away.ts';
import { releaseHost } from './release-host.ts';
import { setLink } from './set-link.ts';
import { writeStartedConfig } from './started-config.ts';
import { writeCloudInit } from './write-cloud-init.ts';

const END_TIMEOUT_MS = 10_000;

export interface StartVmOptions {
  readonly signal?: AbortSignal | undefined;
  /** Root's way around a `lock`. */
  readonly skipLock?: boolean;
  /** Leaves the processors paused, and the caller lets them run; `marked`: if it is killed before, whoever comes next does. */
  readonly paused?: 'marked' | 'unmarked';
}

/** @throws `guest-running`, `guest-locked`, `not-found`, `guest-failed`, and what making its parts throws. */
export async function startVm(node: GuestNode, id: GuestId, options: StartVmOptions, report: Report): Promise<void> {
  await withGuestLock(node, id, options, async () => {
    await startLocked(node, id, options, report);
  });
}

/** As `startVm`, for who holds the guest's lock already. */
export async function startLocked(
  node: GuestNode,
  id: GuestId,
  { signal, skipLock = false, paused }: StartVmOptions,
  report: Report,
): Promise<void> {
  const { config } = await node.configs.read(id);
  if (!skipLock) requireUnlocked(id, config);
  if (config.values.get('template') === '1')
    throw new HoldfastError('bad-argument', `VM ${id} is a template, which is cloned and not started`, {
      data: { vmid: id },
    });
  await settle(node, id, report);
  if ((await findQemu(node.directory.run(id))) !== undefined)
    throw new HoldfastError('guest-running', `VM ${id} already running`, { data: { vmid: id } });
  const without = keysWithoutEffect(config);
  if (without.length > 0) report.warn(`kept, and without effect here: ${without.join(', ')}`);
  await runGuestHook(node, id, config, 'pre-start', report, signal);
  const monitor = await launch(node, id, config, report, signal);
  try {
    if (paused === undefined && config.values.get('freeze') !== '1') await monitor.execute('cont');
    if (paused === 'marked') await markPaused(node.directory.run(id));
  } finally {
    monitor.close();
  }
  await runGuestHook(node, id, config, 'post-start', report);
}

async function launch(
  node: GuestNode,
  id: GuestId,
  config: VmConfig,
  report: Report,
  signal: AbortSignal | undefined,
): Promise<QmpClient> {
  const run = node.directory.run(id);
  await writeCloudInit(node, id, config, signal);
  const disks = await planDisks(config, node.storages);
  const tpm = await planTpm(config, node.storages);
  await endTpm(run);
  if (tpm !== undefined) await prepareTpm(tpm, signal);
  const accelerator =
    config.values.get('kvm') === '0' ? 'tcg' : await chooseAccelerator(node.qemu, node.directory.runPath, signal);
  if (accelerator === 'tcg')
    report.log('the guest runs without KVM (TCG), which is slow: KVM does not work here, or kvm: 0 is set');
  try {
    const nets = await connectNetworks(id, config, report, signal);
    const group = await openControlGroup(id, limitsOf(config), { node: node.directory.name });
    report.log(group.describe);
    const types = await machineTypes(node.qemu, node.directory.runPath, signal);
    const plan = await planMachine({ id, config, disks, nets, accelerator, tpm, machineTypes: types }, report.warn);
    const trusted = await trustedSidecars(node.directory, id, fileDisks(disks));
    const options = {
      label: `VM ${id}`,
      argvPrefix: [...group.argvPrefix, ...onProcessors(config), ...(tpm === undefined ? [] : withTpm(tpm, run))],
      signal,
    };
    const monitor = await startQemu(node.qemu, commandLine(plan, run), run, options);
    try {
      const machine = {
        format: 1 as const,
        accelerator,
        machineType: plan.machine.type,
        started: new Date().toISOString(),
      };
      await writeRunningMachine(run, { ...machine, disks: disks.flatMap((disk) => runningDisk(disk) ?? []) });
      await restoreBitmaps(monitor, node, id, trusted, report);
      await writeStartedConfig(node, id, config);
      for (const { key, linkDown } of netDevices(config)) if (linkDown) await setLink(monitor, key, false);
      return monitor;
    } catch (error) {
      await endQemu(run, monitor, END_TIMEOUT_MS);
      monitor.close();
      throw error;
    }
  } catch (error) {
    await releaseHost(node, id).catch((left: Error) =>
      report.warn(`something of it is left on the host: ${left.message}`),
    );
    throw error;
  }
}

/** Before the guest runs, so that no write goes unrecorded. A bitmap that cannot be had back costs a full read, never the start. */
async function restoreBitmaps(
  monitor: QmpClient,
  node: GuestNode,
  id: GuestId,
  trusted: Trust,
  report: Report,
): Promise<void> {
  try {
    await loadSidecars(monitor, node.directory, id, trusted);
    const lost = await reconcileBitmaps(monitor, await readBitmapRecords(node.directory, id), trusted.doubted);
    if (lost.length > 0)
      report.warn(
        `${lost.join(', ')}: QEMU had ended without storing what changed, or something else wrote to it since; the next backup reads in full`,
      );
  } catch (error) {
    // What is in doubt may still be there.
    await dropBitmapRecords(node.directory, id);
    report.warn(`bitmaps cannot be had back, so the next backup reads in full: ${(error as Error).message}`);
  }
}

/** `affinity`: the processors of the host that it runs on. */
function onProcessors({ values }: VmConfig): string[] {
  const affinity = values.get('affinity');
  return affinity === undefined ? [] : ['taskset', '--cpu-list', affinity.replaceAll(/\s/g, '')];
}

/** `cpulimit` is in processors, 0 is none. */
function limitsOf({ values }: VmConfig): { cpulimit?: number; cpuunits?: number } {
  const [cpulimit, cpuunits] = [Number(values.get('cpulimit') ?? 0), Number(values.get('cpuunits') ?? 0)];
  return { ...(cpulimit > 0 && { cpulimit }), ...(cpuunits > 0 && { cpuunits }) };
}
