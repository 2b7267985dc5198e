// The host's own name servers and search domains: what a guest gets whose configuration names none, as on Proxmox.
import { isIP } from 'node:net';
import { readIfPresent } from '../../util/atomic-file.ts';

export interface HostResolver {
  readonly nameserver: string | undefined;
  readonly searchdomain: string | undefined;
}

/** Without the servers that only the host itself reaches (127.0.0.53 and the like). */
export async function readHostResolver(path = '/etc/resolv.conf'): Promise<HostResolver> {
  const lines = ((await readIfPresent(path)) ?? '').split('\n').map((line) => line.trim().split(/\s+/));
  const servers = lines.filter(([key]) => key === 'nameserver').map(([, address = '']) => address);
  const reachable = servers.filter((address) => isIP(address) !== 0 && !/^(127\.|::1$|fe80:)/i.test(address));
  const search = lines.findLast(([key]) => key === 'search' || key === 'domain')?.slice(1) ?? [];
  const said = (words: readonly string[]) => (words.length > 0 ? words.join(' ') : undefined);
  return {
    nameserver: said(reachable),
    searchdomain: said(search.filter((domain) => /^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/.test(domain))),
  };
}
