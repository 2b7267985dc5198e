// What cloud-init tells the guest of its network and keys: ipconfigN, sshkeys, nameserver, searchdomain.
import { isIPv4, isIPv6 } from 'node:net';
import { HoldfastError } from '../../util/errors.ts';
import { type PropertyFormat, parseProperties } from './property-string.ts';

const TEXT = { kind: 'text' } as const;
const IP_FORMAT: PropertyFormat = { keys: { ip: TEXT, gw: TEXT, ip6: TEXT, gw6: TEXT } };

export interface IpConfig {
  /** `dhcp` or ADDRESS/PREFIX. */
  readonly ip: string | undefined;
  readonly gw: string | undefined;
  /** `auto`, `dhcp` or ADDRESS/PREFIX. */
  readonly ip6: string | undefined;
  readonly gw6: string | undefined;
}

/** @throws `bad-argument`, which names `key`. */
export function parseIpConfig(key: string, value: string): IpConfig {
  const { ip, gw, ip6, gw6 } = parseProperties(value, IP_FORMAT, key);
  const require = (fine: boolean, problem: string): void => {
    if (!fine) throw new HoldfastError('bad-argument', `${key}: ${problem}`, { data: { key } });
  };
  require(ip === undefined ||
    ip === 'dhcp' ||
    isNetwork(ip, isIPv4, 32), `ip= takes dhcp or ADDRESS/PREFIX, not '${ip}'`);
  require(ip6 === undefined ||
    /^(auto|dhcp)$/.test(ip6) ||
    isNetwork(ip6, isIPv6, 128), `ip6= takes auto, dhcp or ADDRESS/PREFIX, not '${ip6}'`);
  require(gw === undefined || isIPv4(gw), `gw= takes an IPv4 address, not '${gw}'`);
  require(gw6 === undefined || isIPv6(gw6), `gw6= takes an IPv6 address, not '${gw6}'`);
  require(gw === undefined || (ip !== undefined && ip !== 'dhcp'), 'gw= needs an address in ip=');
  require(gw6 === undefined || (ip6 !== undefined && isNetwork(ip6, isIPv6, 128)), 'gw6= needs an address in ip6=');
  return { ip, gw, ip6, gw6 };
}

/** The public keys in the value of `sshkeys`, one a line; empty lines and comments left out. @throws `bad-argument`. */
export function parseSshKeys(value: string): string[] {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new HoldfastError('bad-argument', `sshkeys: ${problem}`, { cause, data: { key: 'sshkeys' } });
  };
  if (!/^[-%a-zA-Z0-9_.!~*'()]*$/.test(value)) refuse('write the keys percent-encoded, one a line');
  let text = '';
  try {
    text = decodeURIComponent(value);
  } catch (error) {
    refuse('the percent-encoding is broken', error);
  }
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
  for (const key of keys)
    if (/\p{Cc}/u.test(key.replaceAll('\t', ' ')) || !PUBLIC_KEY.test(key))
      refuse(`'${key.slice(0, 40)}' is no OpenSSH public key`);
  return keys;
}

/** The value of `sshkeys` for these public keys. */
export function printSshKeys(keys: readonly string[]): string {
  return encodeURIComponent(keys.map((key) => `${key}\n`).join(''));
}

/** Addresses in the value of `nameserver`, with blanks, commas or semicolons between. @throws `bad-argument`. */
export function parseNameservers(value: string): string[] {
  return listOf('nameserver', value, (each) => isIPv4(each) || isIPv6(each), 'an address');
}

/** Domains in the value of `searchdomain`. @throws `bad-argument`. */
export function parseSearchDomains(value: string): string[] {
  return listOf('searchdomain', value, (each) => DOMAIN.test(each), 'a domain');
}

/** Options may stand before the type, a comment after the data. */
const PUBLIC_KEY = /(^|\s)(ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+\s+[A-Za-z0-9+/]+={0,3}(\s|$)/;
const DOMAIN = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?$/;

function isNetwork(text: string, isAddress: (text: string) => boolean, maxPrefix: number): boolean {
  const [, address = '', prefix] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  return isAddress(address) && Number(prefix) <= maxPrefix;
}

function listOf(key: string, value: string, fits: (text: string) => boolean, kind: string): string[] {
  const items = value.split(/[\s,;]+/).filter((item) => item !== '');
  for (const item of items)
    if (!fits(item)) throw new HoldfastError('bad-argument', `${key}: '${item}' is not ${kind}`, { data: { key } });
  return items;
}
