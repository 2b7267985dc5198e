// qm showcmd: the command that a start would run, with nothing made for it.
import type { GuestId } from '../../schema/guest-names.ts';
import { bootOrder } from '../config/boot-order.ts';
import type { GuestNode } from '../guest-node.ts';
import { tapName } from '../network/connect-network.ts';
import { chooseAccelerator } from '../qemu/accelerator.ts';
import { commandLine } from '../qemu/command-line.ts';
import { machineTypes } from '../qemu/machine-type.ts';
import { planDisks } from '../qemu/plan-disks.ts';
import { planMachine } from '../qemu/plan-machine.ts';
import { planTpm } from '../qemu/tpm.ts';
import { netDevices } from './networks.ts';

/** Program and arguments; network cards are shown on taps. @throws `not-found`, `bad-argument`, `tool-missing`. */
export async function showCommand(node: GuestNode, id: GuestId, signal?: AbortSignal): Promise<string[]> {
  const { config } = await node.configs.read(id);
  const disks = await planDisks(config, node.storages);
  const isEmulated = config.values.get('kvm') === '0';
  const accelerator = isEmulated ? 'tcg' : await chooseAccelerator(node.qemu, node.directory.runPath, signal);
  const order = bootOrder(config.values);
  const nets = netDevices(config).map(({ key, index, model, macaddr, queues }) => ({
    key,
    model,
    macaddr: macaddr ?? '',
    hostMtu: undefined,
    queues,
    netdev: { type: 'tap', id: key, ifname: tapName(id, index), script: 'no', downscript: 'no' },
    bootIndex: order.includes(key) ? 100 + order.indexOf(key) : undefined,
  }));
  const types = await machineTypes(node.qemu, node.directory.runPath, signal);
  const tpm = await planTpm(config, node.storages);
  const plan = await planMachine({ id, config, disks, nets, accelerator, tpm, machineTypes: types }, () => {});
  return [node.qemu.program, ...node.qemu.args, ...commandLine(plan, node.directory.run(id))];
}
