// What cloud-init is told about a guest's network cards: version 1 of its network configuration for NoCloud, where a card is found by its
// MAC address, and Debian's `interfaces` for the configuration drive. Both as Proxmox makes them; card N is `ethN`.
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { HoldfastError } from '../../util/errors.ts';
import { writeYaml, type YamlValue } from './yaml.ts';

/** One `ipconfigN`. */
export interface IpConfig {
  /** `dhcp` or an address with its prefix; without ip and ip6, dhcp. */
  readonly ip?: string | undefined;
  readonly gw?: string | undefined;
  /** `dhcp`, `auto` or an address with its prefix. */
  readonly ip6?: string | undefined;
  readonly gw6?: string | undefined;
}

export interface NetworkOptions {
  /** By the number of the card; cards without one are not configured. */
  readonly ipconfig: readonly (IpConfig | undefined)[];
  /** By the number of the card. */
  readonly macs: readonly (string | undefined)[];
  /** Addresses with spaces between; undefined says nothing about name servers. */
  readonly nameserver?: string | undefined;
  /** Domains with spaces between. */
  readonly searchdomain?: string | undefined;
}

interface Card extends IpConfig {
  readonly name: string;
  readonly mac: string | undefined;
}

/** `network-config` of NoCloud. @throws `bad-argument` for what is no address, and for a card without a MAC address. */
export function noCloudNetwork(options: NetworkOptions): string {
  const cards = checkedCards(options).map((card): YamlValue => {
    if (card.mac === undefined) throw wrong(`${card.name} has an address and no MAC address`);
    return { type: 'physical', name: card.name, mac_address: card.mac.toLowerCase(), subnets: subnets(card) };
  });
  const { address, search } = resolver(options);
  const named: YamlValue = {
    type: 'nameserver',
    address: address.length > 0 ? address : undefined,
    search: search.length > 0 ? search : undefined,
  };
  return writeYaml({ version: 1, config: [...cards, ...(address.length + search.length > 0 ? [named] : [])] });
}

function subnets({ ip, gw, ip6, gw6 }: Card): YamlValue[] {
  const found: YamlValue[] = [];
  if (ip === 'dhcp' || (ip === undefined && ip6 === undefined)) found.push({ type: 'dhcp4' });
  else if (ip !== undefined) {
    const { address, netmask } = splitIpv4(ip);
    found.push({ type: 'static', address, netmask, gateway: gw });
  }
  if (ip6 === 'dhcp') found.push({ type: 'dhcp6' });
  else if (ip6 === 'auto') found.push({ type: 'ipv6_slaac' });
  else if (ip6 !== undefined) found.push({ type: 'static6', address: ip6, gateway: gw6 });
  return found;
}

/** `content/0000` of the configuration drive. @throws `bad-argument` for what is no address. */
export function configDriveNetwork(options: NetworkOptions): string {
  const { address, search } = resolver(options);
  const lines = ['auto lo', 'iface lo inet loopback'];
  if (address.length > 0) lines.push(`    dns-nameservers ${address.join(' ')}`);
  if (search.length > 0) lines.push(`    dns-search ${search.join(' ')}`);
  for (const card of checkedCards(options)) lines.push('', `auto ${card.name}`, ...stanzas(card));
  return `${lines.join('\n')}\n`;
}

function stanzas({ name, ip, gw, ip6, gw6 }: Card): string[] {
  const lines: string[] = [];
  const gateway = (address: string | undefined) => (address === undefined ? [] : [`    gateway ${address}`]);
  if (ip === 'dhcp' || (ip === undefined && ip6 === undefined)) lines.push(`iface ${name} inet dhcp`);
  else if (ip !== undefined) {
    const { address, netmask } = splitIpv4(ip);
    lines.push(`iface ${name} inet static`, `    address ${address}`, `    netmask ${netmask}`, ...gateway(gw));
  }
  if (ip6 === 'dhcp' || ip6 === 'auto') lines.push(`iface ${name} inet6 ${ip6}`);
  else if (ip6 !== undefined) {
    const [address, prefix] = ip6.split('/');
    lines.push(`iface ${name} inet6 static`, `    address ${address}`, `    netmask ${prefix}`, ...gateway(gw6));
  }
  return lines;
}

function checkedCards({ ipconfig, macs }: NetworkOptions): Card[] {
  return ipconfig.flatMap((config, index) => {
    if (config === undefined) return [];
    const { ip, gw, ip6, gw6 } = config;
    const card = { ip, gw, ip6, gw6, name: `eth${index}`, mac: macs[index] };
    const check = (fits: boolean, value: string | undefined, what: string) => {
      if (!fits) throw wrong(`ipconfig${index}: '${value}' is no ${what}`);
    };
    check(ip === undefined || ip === 'dhcp' || isPrefixed(ip, isIPv4, 32), ip, "'dhcp' or IPv4 address with a prefix");
    check(
      ip6 === undefined || ip6 === 'dhcp' || ip6 === 'auto' || isPrefixed(ip6, isIPv6, 128),
      ip6,
      "'dhcp', 'auto' or IPv6 address with a prefix",
    );
    check(gw === undefined || isIPv4(gw), gw, 'IPv4 gateway');
    check(gw6 === undefined || isIPv6(gw6), gw6, 'IPv6 gateway');
    check(card.mac === undefined || /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(card.mac), card.mac, 'MAC address');
    return [card];
  });
}

function isPrefixed(text: string, isAddress: (address: string) => boolean, maxPrefix: number): boolean {
  const [address = '', prefix = '', ...rest] = text.split('/');
  return (
    rest.length === 0 &&
    isAddress(address) &&
    !address.includes('%') &&
    /^\d{1,3}$/.test(prefix) &&
    Number(prefix) <= maxPrefix
  );
}

function splitIpv4(ip: string): { address: string; netmask: string } {
  const [address = '', prefix] = ip.split('/');
  const mask = Array.from(
    { length: 4 },
    (_, byte) => 256 - 2 ** (8 - Math.min(8, Math.max(0, Number(prefix) - 8 * byte))),
  );
  return { address, netmask: mask.join('.') };
}

function resolver({ nameserver = '', searchdomain = '' }: NetworkOptions): { address: string[]; search: string[] } {
  const words = (text: string) => text.split(/[\s,;]+/).filter(Boolean);
  const [address, search] = [words(nameserver), words(searchdomain)];
  for (const each of address) if (isIP(each) === 0) throw wrong(`nameserver: '${each}' is no IP address`);
  for (const each of search) if (!/^[A-Za-z0-9_.-]+$/.test(each)) throw wrong(`searchdomain: '${each}' is no domain`);
  return { address, search };
}

function wrong(message: string): HoldfastError {
  return new HoldfastError('bad-argument', `cloud-init: ${message}`);
}
