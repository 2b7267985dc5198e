// Connects a virtual machine's network card to the host: a tap on a bridge, or QEMU's user-mode network where there is no bridge to take or
// no right to. Nothing is remembered: a tap is found again by its name, `tapVMIDiN` as on Proxmox, so any process can release it.
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { bridgeOfVlan, joinBridge, MAX_VLAN, requireBridge, type VlanRange } from './bridge-port.ts';
import { limitRate } from './limit-rate.ts';
import { deleteLink, findLink, ip, type Signal } from './links.ts';

export interface NetworkCard {
  readonly vmid: GuestId;
  /** N of `netN`. */
  readonly index: number;
  readonly bridge?: string | undefined;
  /** The VLAN of frames that carry none. */
  readonly tag?: number | undefined;
  /** VLANs that the guest itself may tag frames with. */
  readonly trunks?: readonly VlanRange[] | undefined;
  /** What the guest's card is to use; 1 is the bridge's. */
  readonly mtu?: number | undefined;
  /** Megabytes (2^20) a second in each direction, Proxmox's `rate`. */
  readonly rateMbps?: number | undefined;
  readonly linkDown?: boolean | undefined;
  readonly model: string;
  readonly queues?: number | undefined;
}

export interface NetworkConnection {
  /** QEMU's `-netdev` in JSON; its id is `netN`. */
  readonly netdev: Readonly<Record<string, unknown>>;
  /** `host_mtu` of a virtio card, when the configuration asks for one. */
  readonly hostMtu: number | undefined;
  /** How it is connected, for a person. */
  readonly how: string;
  /** What was asked for and cannot be had on this host, for a person. */
  readonly warnings: readonly string[];
}

const MAX_INDEX = 31;
const MAX_QUEUES = 64;
const [MIN_MTU, MAX_MTU] = [576, 65_520];
/** The upper one is what 32 bits of bytes a second hold: older kernels police no faster. */
const [MIN_RATE, MAX_RATE] = [0.001, 4095];

export function tapName(vmid: GuestId, index: number): string {
  return `tap${vmid}i${index}`;
}

/**
 * Needs the guest's lock. A tap that a crashed run left is made anew. After a failure nothing is left but a bridge of a VLAN, which other guests may use by then.
 * A card whose link is down has a tap on the bridge that is down; QEMU is to be told too (`set_link`).
 * @throws `bad-argument`; `not-found` for the bridge; `target-unfit` when the bridge or the kernel cannot; `guest-running` when a process has the tap.
 */
export async function connectNetwork(card: NetworkCard, signal?: AbortSignal): Promise<NetworkConnection> {
  requireCard(card);
  const { bridge } = card;
  if (bridge === undefined) return connectUserMode(card, 'no bridge is named');
  if (!(await mayMakeLinks())) return connectUserMode(card, `only root may take bridge ${bridge}`);
  return connectTap(card, bridge, signal);
}

/** Deletes the tap of a card if it is there; QEMU is to have ended or let go of it. For any process that holds the guest's lock. */
export async function releaseNetwork(vmid: GuestId, index: number, signal?: AbortSignal): Promise<void> {
  if (await mayMakeLinks()) await deleteLink(tapName(vmid, index), signal);
}

/** Sets the host's side of a card's link. Says whether there is a tap: the user-mode network has none, there QEMU's `set_link` is all. */
export async function setTapLink(vmid: GuestId, index: number, up: boolean, signal?: AbortSignal): Promise<boolean> {
  const tap = tapName(vmid, index);
  if ((await findLink(tap, signal)) === undefined) return false;
  await ip(['link', 'set', 'dev', tap, up ? 'up' : 'down'], signal);
  return true;
}

function requireCard({ vmid, index, tag, trunks = [], mtu, rateMbps, queues }: NetworkCard): void {
  const check = (fits: boolean, what: string) => {
    if (!fits)
      throw new HoldfastError('bad-argument', `net${index} of guest ${vmid}: ${what}`, { data: { vmid, index } });
  };
  const isVlan = (vlan: number) => Number.isInteger(vlan) && vlan >= 1 && vlan <= MAX_VLAN;
  check(Number.isInteger(index) && index >= 0 && index <= MAX_INDEX, `cards have numbers from 0 to ${MAX_INDEX}`);
  check(tag === undefined || isVlan(tag), `tag ${tag} is no VLAN from 1 to ${MAX_VLAN}`);
  for (const [first, last] of trunks)
    check(isVlan(first) && isVlan(last) && first <= last, `trunks ${first}-${last} are no VLANs from 1 to ${MAX_VLAN}`);
  check(
    mtu === undefined || mtu === 1 || (mtu >= MIN_MTU && mtu <= MAX_MTU && Number.isInteger(mtu)),
    `mtu ${mtu} is neither 1 nor from ${MIN_MTU} to ${MAX_MTU}`,
  );
  check(
    rateMbps === undefined || (rateMbps >= MIN_RATE && rateMbps <= MAX_RATE),
    `rate ${rateMbps} is not from ${MIN_RATE} to ${MAX_RATE} MB/s`,
  );
  check(
    queues === undefined || (Number.isInteger(queues) && queues >= 0 && queues <= MAX_QUEUES),
    `queues ${queues} is not from 0 to ${MAX_QUEUES}`,
  );
}

/** CAP_NET_ADMIN in the effective set: root in a container may lack it. */
async function mayMakeLinks(): Promise<boolean> {
  const CAP_NET_ADMIN = 12n;
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1];
  return effective !== undefined && ((BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) === 1n;
}

function connectUserMode(card: NetworkCard, why: string): NetworkConnection {
  const ignored = Object.entries({ tag: card.tag, trunks: card.trunks?.length, rate: card.rateMbps }).filter(
    ([, value]) => value,
  );
  return {
    netdev: { type: 'user', id: `net${card.index}`, restrict: false },
    hostMtu: undefined,
    how: `QEMU's user-mode network (${why}): the guest reaches others through the host, nobody reaches the guest`,
    warnings: ignored.map(([key]) => `net${card.index}: ${key} means nothing in the user-mode network`),
  };
}

async function connectTap(card: NetworkCard, bridgeName: string, signal: Signal): Promise<NetworkConnection> {
  const { vmid, index, tag, trunks = [], mtu, rateMbps, linkDown = false, model, queues = 0 } = card;
  const bridge = await requireBridge(bridgeName, signal);
  if (trunks.length > 0 && !bridge.vlanAware)
    throw new HoldfastError(
      'target-unfit',
      `net${index} of guest ${vmid} has trunks and bridge ${bridgeName} is not VLAN-aware: make it so (ip link set ${bridgeName} type bridge vlan_filtering 1), or leave them out`,
    );
  if (mtu !== undefined && mtu > bridge.mtu)
    throw new HoldfastError(
      'bad-argument',
      `net${index} of guest ${vmid} has mtu ${mtu}, which bridge ${bridgeName} with ${bridge.mtu} would drop; write 1 for the bridge's`,
    );
  const tap = tapName(vmid, index);
  await deleteStaleTap(tap, signal);
  const target = await bridgeOfVlan(bridge, tag, signal);
  try {
    await ip(['tuntap', 'add', 'dev', tap, 'mode', 'tap', ...(queues > 1 ? ['multi_queue'] : [])], signal);
    // The bridge's MTU and before it joins, whatever the guest uses: a port with a smaller one would lower the bridge's. No address of its own.
    await ip(['link', 'set', 'dev', tap, 'mtu', String(bridge.mtu), 'addrgenmode', 'none'], signal);
    await joinBridge(tap, target, { aware: bridge.vlanAware, tag, trunks }, signal);
    const warnings = rateMbps === undefined ? [] : await limitRate(tap, Math.round(rateMbps * 2 ** 20), signal);
    // Last, so that no frame passes before the VLANs are right.
    if (!linkDown) await ip(['link', 'set', 'dev', tap, 'up'], signal);
    const vhost = model === 'virtio' && (await mayUseVhost());
    return {
      netdev: {
        type: 'tap',
        id: `net${index}`,
        ifname: tap,
        script: 'no',
        downscript: 'no',
        ...(vhost ? { vhost } : {}),
        ...(queues > 1 ? { queues } : {}),
      },
      hostMtu: mtu === 1 ? bridge.mtu : mtu,
      how: [`${tap} on bridge ${target}`, describeVlans(tag, trunks), linkDown ? 'link down' : '']
        .filter(Boolean)
        .join(', '),
      warnings,
    };
  } catch (error) {
    // Not with the signal, which may be why we are here.
    await deleteLink(tap, undefined);
    throw error;
  }
}

function describeVlans(tag: number | undefined, trunks: readonly VlanRange[]): string {
  const ranges = trunks.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(' ');
  return [tag === undefined ? '' : `VLAN ${tag}`, ranges && `trunks ${ranges}`].filter(Boolean).join(', ');
}

async function deleteStaleTap(tap: string, signal: Signal): Promise<void> {
  const found = await findLink(tap, signal);
  if (found === undefined) return;
  if (found.carrier)
    throw new HoldfastError(
      'guest-running',
      `${tap} is in use by a process (ip -details tuntap shows which); end it first`,
      {
        data: { tap },
      },
    );
  await deleteLink(tap, signal);
}

async function mayUseVhost(): Promise<boolean> {
  return access('/dev/vhost-net', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
}
