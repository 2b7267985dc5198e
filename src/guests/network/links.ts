// Network links of the kernel by `ip`: looked up, made, deleted. Asked by netlink and not through /sys, whose view is that of the network
// namespace it was mounted in. Making and deleting are idempotent: what is so already is no error.
import { readFile } from 'node:fs/promises';
import { HoldfastError } from '../../util/errors.ts';
import { run } from '../../util/run.ts';

export type Signal = AbortSignal | undefined;

export interface Link {
  readonly name: string;
  /** `bridge`, `tun`, `veth`, `vlan`, `bond`, ...; undefined for hardware. */
  readonly kind: string | undefined;
  readonly mtu: number;
  readonly master: string | undefined;
  /** Administratively up. */
  readonly up: boolean;
  /** Carrier of a link that is up: of a tap, that a process holds it. */
  readonly carrier: boolean;
  /** Of a bridge: whether it keeps VLANs apart. */
  readonly vlanAware: boolean;
  /** Of a VLAN device: its number, and the link below. */
  readonly vlan: number | undefined;
  readonly lower: string | undefined;
}

interface IpLink {
  ifname?: string;
  flags?: string[];
  mtu?: number;
  master?: string;
  link?: string;
  linkinfo?: { info_kind?: string; info_data?: { vlan_filtering?: number; id?: number } };
}

/** IFNAMSIZ without its zero byte. */
const MAX_NAME_LENGTH = 15;
const TIMEOUT_MS = 10_000;

/** @throws `bad-name` for what the kernel or `ip` would not take as the name of a link. */
export function requireLinkName(name: string): string {
  // Letters first: `ip` takes `dev`, `-all` and `@` for words of its own.
  if (/^[A-Za-z][A-Za-z0-9_.-]*$/.test(name) && name.length <= MAX_NAME_LENGTH) return name;
  throw new HoldfastError(
    'bad-name',
    `'${name}' is no name of a network link: use up to ${MAX_NAME_LENGTH} letters, digits, '_', '.' and '-', beginning with a letter`,
  );
}

/** Runs `ip`, `bridge` or `tc`. @throws `guest-failed` with the program's words, `tool-missing`, `timed-out`, `aborted`. */
export async function command(tool: 'ip' | 'bridge' | 'tc', args: readonly string[], signal: Signal): Promise<string> {
  return (await run(tool, args, { signal, timeoutMs: TIMEOUT_MS, failure: 'guest-failed' })).stdout;
}

export function ip(args: readonly string[], signal: Signal): Promise<string> {
  return command('ip', args, signal);
}

/** All links, or those that are ports of a bridge. */
export async function listLinks(signal: Signal, bridge?: string): Promise<Link[]> {
  const master = bridge === undefined ? [] : ['master', bridge];
  const found = JSON.parse(await ip(['-details', '-json', 'link', 'show', ...master], signal)) as IpLink[];
  // A `master` without ports is answered with an empty object by some versions.
  return found.filter(({ ifname }) => ifname !== undefined).map(readLink);
}

function readLink({ ifname, flags = [], mtu, master, link, linkinfo }: IpLink): Link {
  return {
    name: ifname!,
    kind: linkinfo?.info_kind,
    mtu: mtu ?? 1500,
    master,
    up: flags.includes('UP'),
    carrier: flags.includes('LOWER_UP'),
    vlanAware: linkinfo?.info_data?.vlan_filtering === 1,
    vlan: linkinfo?.info_kind === 'vlan' ? linkinfo.info_data?.id : undefined,
    lower: link,
  };
}

/** Of all links, asked without a program: also where `ip` is not installed. */
export async function linkNames(): Promise<string[]> {
  const lines = (await readFile('/proc/self/net/dev', 'utf8')).split('\n');
  return lines.flatMap((line) => /^\s*(\S+):/.exec(line)?.[1] ?? []);
}

export async function findLink(name: string, signal: Signal): Promise<Link | undefined> {
  return (await listLinks(signal)).find((link) => link.name === name);
}

/** Makes a link unless there is one of that name: another process may make the same at the same time. */
export async function ensureLink(name: string, add: readonly string[], signal: Signal): Promise<void> {
  if ((await findLink(name, signal)) !== undefined) return;
  try {
    await ip(['link', 'add', ...add], signal);
  } catch (error) {
    if (signal?.aborted || (await findLink(name, signal)) === undefined) throw error;
  }
}

/** Deletes a link if it is there. */
export async function deleteLink(name: string, signal: Signal): Promise<void> {
  if ((await findLink(name, signal)) === undefined) return;
  try {
    await ip(['link', 'delete', 'dev', name], signal);
  } catch (error) {
    if (signal?.aborted || (await findLink(name, signal)) !== undefined) throw error;
  }
}
