// A tap as the port of a bridge: which bridge carries a VLAN, and which VLANs the port carries. Two ways, as Proxmox has them: a VLAN-aware
// bridge keeps VLANs apart itself; beside another bridge there is one more for each VLAN, over VLAN devices of its physical ports.
import { HoldfastError } from '../../util/errors.ts';
import { command, ensureLink, findLink, ip, type Link, listLinks, requireLinkName, type Signal } from './links.ts';

/** First and last VLAN of a range. */
export type VlanRange = readonly [first: number, last: number];

export const MAX_VLAN = 4094;

/** @throws `not-found` for no such link, `target-unfit` for one that is no Linux bridge. */
export async function requireBridge(name: string, signal: Signal): Promise<Link> {
  const links = await listLinks(signal);
  const link = links.find((each) => each.name === requireLinkName(name));
  if (link?.kind === 'bridge') return link;
  const bridges = links.filter(({ kind }) => kind === 'bridge').map((each) => each.name);
  const others = bridges.length === 0 ? 'this host has none' : `this host has ${bridges.join(', ')}`;
  if (link === undefined)
    throw new HoldfastError(
      'not-found',
      `there is no bridge ${name}, ${others}: name another in the guest's configuration, or make it (in /etc/network/interfaces: 'auto ${name}', 'iface ${name} inet manual', 'bridge_ports ...'; then 'ifup ${name}')`,
      { data: { bridge: name, bridges } },
    );
  throw new HoldfastError('target-unfit', `${name} is no Linux bridge (${link.kind ?? 'hardware'}); ${others}`, {
    data: { bridge: name, kind: link.kind, bridges },
  });
}

/** The bridge that a port without trunks belongs to: the bridge itself, or for a VLAN of one that is not VLAN-aware `BRIDGEvTAG`, made if need be. */
export async function bridgeOfVlan(bridge: Link, tag: number | undefined, signal: Signal): Promise<string> {
  if (tag === undefined || bridge.vlanAware) return bridge.name;
  const uplinks = (await listLinks(signal, bridge.name)).filter(isUplink);
  if (uplinks.length === 0)
    throw new HoldfastError(
      'target-unfit',
      `bridge ${bridge.name} is not VLAN-aware and has no physical port, so VLAN ${tag} leads nowhere: make the bridge VLAN-aware (ip link set ${bridge.name} type bridge vlan_filtering 1), or leave the tag out`,
      { data: { bridge: bridge.name, tag } },
    );
  const tagged: string[] = [];
  // VLAN devices before the bridge: where the kernel cannot make them, nothing is left behind.
  for (const uplink of uplinks) tagged.push(await ensureVlanDevice(uplink, tag, signal));
  const name = requireLinkName(`${bridge.name}v${tag}`);
  await ensureLink(name, ['name', name, 'type', 'bridge'], signal);
  await ip(['link', 'set', 'dev', name, 'mtu', String(bridge.mtu), 'addrgenmode', 'none', 'up'], signal);
  for (const port of tagged) await ip(['link', 'set', 'dev', port, 'master', name, 'up'], signal);
  return name;
}

/** Ports that lead out of the host: hardware, bonds, VLANs of them, and a container's own veth; not those of other guests. */
function isUplink({ name, kind }: Link): boolean {
  if (/^(tap|veth)\d+i\d+$|^fw(ln|pr|br)\d/.test(name)) return false;
  return kind === undefined || ['bond', 'team', 'vlan', 'veth', 'dummy'].includes(kind);
}

async function ensureVlanDevice(uplink: Link, tag: number, signal: Signal): Promise<string> {
  // QinQ below a VLAN-unaware bridge is not Proxmox's either.
  const name = requireLinkName(`${uplink.name}.${tag}`);
  try {
    await ensureLink(name, ['link', uplink.name, 'name', name, 'type', 'vlan', 'id', String(tag)], signal);
  } catch (cause) {
    if (!(cause instanceof HoldfastError) || cause.code !== 'guest-failed') throw cause;
    throw new HoldfastError(
      'target-unfit',
      `VLAN ${tag} on ${uplink.name} cannot be made: ${String(cause.data.stderr).trim()}; is the kernel module 8021q there (modprobe 8021q)?`,
      { cause, data: { link: uplink.name, tag } },
    );
  }
  const made = await findLink(name, signal);
  if (made?.vlan === tag && made.lower === uplink.name) return name;
  throw new HoldfastError(
    'target-unfit',
    `${name} is there and is not VLAN ${tag} of ${uplink.name}; rename or delete it`,
    {
      data: { link: name },
    },
  );
}

/**
 * Arguments of `bridge` that give a port of a VLAN-aware bridge its VLANs: `tag` (default 1) for frames without one; with trunks only
 * these besides, without tag and trunks all of them, as on Proxmox. For a port whose VLANs are to be replaced.
 */
export function vlanCommands(port: string, tag: number | undefined, trunks: readonly VlanRange[]): string[][] {
  const all: readonly VlanRange[] = tag === undefined ? [[2, MAX_VLAN]] : [];
  const carried = trunks.length > 0 ? trunks : all;
  return [
    ['vlan', 'del', 'dev', port, 'vid', `1-${MAX_VLAN}`],
    ...carried.map(([first, last]) => [
      'vlan',
      'add',
      'dev',
      port,
      'vid',
      first === last ? `${first}` : `${first}-${last}`,
    ]),
    ['vlan', 'add', 'dev', port, 'vid', `${tag ?? 1}`, 'pvid', 'untagged'],
  ];
}

/** Makes a link a port of a bridge, with its VLANs where the bridge knows any. */
export async function joinBridge(
  port: string,
  bridge: string,
  vlans: { aware: boolean; tag: number | undefined; trunks: readonly VlanRange[] },
  signal: Signal,
): Promise<void> {
  await ip(['link', 'set', 'dev', port, 'master', bridge], signal);
  if (!vlans.aware) return;
  for (const args of vlanCommands(port, vlans.tag, vlans.trunks)) await command('bridge', args, signal);
}
