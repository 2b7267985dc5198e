// What this machine is called: its name, and the one with the domain, as Proxmox finds it.
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

const LABELS = /^[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9-]{1,63})*$/;

/** The short name, then the full one when a domain is known. Never empty. */
export function hostNames(name: string = hostname(), resolverFile = '/etc/resolv.conf'): string[] {
  const [short] = name.split('.');
  if (!LABELS.test(name)) return ['localhost'];
  if (short !== name) return [short, name];
  const domain = /^\s*(?:search|domain)\s+([^\s#;]+)/m.exec(readOrNothing(resolverFile))?.[1].replace(/\.$/, '');
  return domain !== undefined && LABELS.test(domain) ? [short, `${short}.${domain}`] : [short];
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
