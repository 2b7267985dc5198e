// What this installation tells of itself: its version, its realms, and an id that stays whatever the machine is called.
import { createHash, randomUUID } from 'node:crypto';
import type { Realm, VersionInfo } from '../api/services.ts';

const VERSION = '0.1';

/** Answers of `GET /version`. */
export const VERSION_INFO: VersionInfo = {
  version: VERSION,
  release: '0',
  repoid: createHash('sha256').update(`holdfast ${VERSION}`).digest('hex').slice(0, 8),
};

export const REALMS: readonly Realm[] = [
  { realm: 'local', type: 'pbs', comment: 'users of this server', default: true },
  { realm: 'pbs', type: 'pbs', comment: 'users of this server, by the name that Proxmox has for it' },
  { realm: 'pam', type: 'pam', comment: 'the administrator root@pam' },
];

/** Of the guest dialect, whose clients know no type of realm but these. */
export const GUEST_REALMS: readonly Realm[] = [
  { realm: 'pam', type: 'pam', comment: 'the administrator root@pam', default: true },
  { realm: 'pve', type: 'pve', comment: 'users of this server, by the name that Proxmox has for it' },
  { realm: 'local', type: 'pve', comment: 'users of this server' },
  { realm: 'pbs', type: 'pve', comment: 'users of this server, by the name that the backup dialect has for it' },
];

/**
 * What the guest dialect says it is: clients choose their calls and parameters by the version of Proxmox VE. 8.4 is the last one whose clients
 * expect nothing of what came with 9, such as images of OCI registries.
 */
export const GUEST_VERSION_INFO: VersionInfo = { ...VERSION_INFO, version: '8.4.0', release: '8.4' };

const INSTANCE = 'instance-id';

interface Secrets {
  find(name: string): Uint8Array | undefined;
  insert(name: string, value: Uint8Array): void;
}

/** Made at the first start, and kept with the state. */
export function instanceId(secrets: Secrets): string {
  const known = secrets.find(INSTANCE);
  if (known !== undefined) return Buffer.from(known).toString();
  const id = randomUUID();
  secrets.insert(INSTANCE, Buffer.from(id));
  return id;
}
