// The network cards of a configuration, connected to the host and let go again.
import type { GuestId } from '../../schema/guest-names.ts';
import { bootOrder } from '../config/boot-order.ts';
import { isNetKey, type NetDevice, parseNetDevice } from '../config/net-device.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { Report } from '../guest-node.ts';
import type { VlanRange } from '../network/bridge-port.ts';
import { connectNetwork, releaseNetwork, tapName } from '../network/connect-network.ts';
import { linkNames } from '../network/links.ts';
import type { NetPlan } from '../qemu/command-line.ts';

export function netDevices(config: VmConfig): NetDevice[] {
  return [...config.values].filter(([key]) => isNetKey(key)).map(([key, value]) => parseNetDevice(key, value));
}

/** Connects every card; after a failure none is left connected. */
export async function connectNetworks(
  id: GuestId,
  config: VmConfig,
  report: Report,
  signal?: AbortSignal,
): Promise<NetPlan[]> {
  const order = bootOrder(config.values);
  const plans: NetPlan[] = [];
  try {
    for (const device of netDevices(config)) {
      const { key, index, model, queues } = device;
      const card = { vmid: id, index, model, bridge: device.bridge, tag: device.tag, mtu: device.mtu, queues };
      const rest = { rateMbps: device.rate, linkDown: device.linkDown };
      const trunks = device.trunks === undefined ? undefined : vlanRanges(device.trunks);
      const connection = await connectNetwork({ ...card, ...rest, trunks }, signal);
      for (const warning of connection.warnings) report.warn(`${key}: ${warning}`);
      report.log(`${key}: ${connection.how}`);
      plans.push({
        key,
        model,
        macaddr: device.macaddr ?? '',
        hostMtu: connection.hostMtu,
        queues,
        netdev: connection.netdev,
        bootIndex: order.includes(key) ? 100 + order.indexOf(key) : undefined,
      });
    }
    return plans;
  } catch (error) {
    await releaseNetworks(id);
    throw error;
  }
}

/** Deletes the guest's taps, those of a run that crashed and of cards that are no longer configured among them. */
export async function releaseNetworks(id: GuestId): Promise<void> {
  const taps = tapName(id, 0).slice(0, -1);
  for (const name of await linkNames())
    if (name.startsWith(taps)) await releaseNetwork(id, Number(name.slice(taps.length)));
}

/** `5;7-9` as ranges. */
function vlanRanges(trunks: string): VlanRange[] {
  return trunks.split(';').map((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return [first, last];
  });
}
