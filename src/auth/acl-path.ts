// The paths that rights stand on: `/`, Proxmox Backup Server's (`/datastore/STORE/NS…`, `/access/users` and so on), Proxmox VE's (`/vms/VMID`,
// `/storage/STORAGE`, `/nodes/NODE`, `/pool/POOL` and so on), and `/system/nodes/NODE` and `/system/jobs` of ours. A path that means nothing is refused, for a right on it would protect nothing and look as if it did.
import { POOL_ID } from '../schema/pool-id.ts';
import { HoldfastError } from '../util/errors.ts';

const SAFE = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;
const POOL = new RegExp(POOL_ID);
const GUEST = /^[1-9]\d{2,8}$/;
const MAX_NAMESPACE_DEPTH = 7;
/** `/datastore/`, a store and a namespace at their longest. */
const MAX_LENGTH = 320;

/** A branch of the grammar: fixed words, any name (`*`), or a name with so many namespace parts below. */
interface Branch {
  readonly words?: Readonly<Record<string, Branch>>;
  readonly any?: Branch;
  readonly namespaceBelow?: boolean;
  /** A VMID and nothing else. */
  readonly guest?: true;
  /** The name of a pool, with all its parts. */
  readonly pool?: true;
}

const END: Branch = {};
const NAMED: Branch = { any: END };
const STORE: Branch = { any: { namespaceBelow: true } };

const GRAMMAR: Branch = {
  words: {
    access: {
      words: { acl: END, users: END, domains: END, openid: NAMED, groups: NAMED, realm: NAMED },
    },
    datastore: STORE,
    remote: { any: STORE },
    system: {
      words: {
        certificates: END,
        disks: END,
        jobs: END,
        log: END,
        nodes: NAMED,
        notifications: END,
        status: END,
        tasks: END,
        time: END,
        services: NAMED,
        network: { words: { dns: END, interfaces: NAMED } },
        's3-endpoint': NAMED,
        'encryption-keys': NAMED,
      },
    },
    mapping: { any: NAMED },
    nodes: NAMED,
    pool: { pool: true },
    sdn: { any: { any: { any: NAMED } } },
    storage: NAMED,
    vms: { guest: true },
    tape: { words: { device: NAMED, pool: NAMED, job: NAMED } },
  },
};

/** Checks a path that a right is to stand on. Throws `bad-name`, in Proxmox's words. */
export function parseAclPath(text: string): string {
  if (isAclPath(text)) return text;
  const shown = text.length > 80 ? `${text.slice(0, 77)}…` : text;
  throw new HoldfastError('bad-name', `invalid acl path '${shown.replace(/[^\x20-\x7e…]/g, '?')}'.`, {
    data: { path: text },
  });
}

function isAclPath(text: string): boolean {
  if (text === '/') return true;
  if (!text.startsWith('/') || text.length > MAX_LENGTH) return false;
  let branch = GRAMMAR;
  const parts = text.slice(1).split('/');
  for (const [index, part] of parts.entries()) {
    if (branch.pool) return POOL.test(parts.slice(index).join('/'));
    if (!SAFE.test(part)) return false;
    if (branch.guest) return GUEST.test(part) && index === parts.length - 1;
    if (branch.namespaceBelow)
      return parts.slice(index).every((each) => SAFE.test(each)) && parts.length - index <= MAX_NAMESPACE_DEPTH;
    const words = branch.words ?? {};
    const next = Object.hasOwn(words, part) ? words[part] : branch.any;
    if (next === undefined) return false;
    branch = next;
  }
  return true;
}

/** `/`, `/a`, `/a/b` of `/a/b`. Empty parts do not count. */
export function pathsDownTo(path: string): string[] {
  const found = ['/'];
  let at = '';
  for (const part of path.split('/')) {
    if (part === '') continue;
    at += `/${part}`;
    found.push(at);
  }
  return found;
}

/** Whether `path` is `ancestor` or below it. */
export function isAtOrBelow(path: string, ancestor: string): boolean {
  return ancestor === '/' || path === ancestor || path.startsWith(`${ancestor}/`);
}
