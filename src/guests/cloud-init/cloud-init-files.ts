// The files by which cloud-init configures a guest, from what its configuration says. Pure: the same words give the same files, and other
// words another instance id, by which cloud-init knows that it has to apply them again.
import { createHash } from 'node:crypto';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { configDriveNetwork, type NetworkOptions, noCloudNetwork } from './network-config.ts';
import { isHashedPassword } from './password.ts';
import { writeYaml } from './yaml.ts';

export type CloudInitType = 'nocloud' | 'configdrive2';

export interface CloudInitOptions extends NetworkOptions {
  readonly vmid: GuestId;
  /** The guest's name, with its domain or without. */
  readonly hostname: string;
  readonly ciuser?: string | undefined;
  /** Hashed, as `hashPassword` makes it. */
  readonly cipassword?: string | undefined;
  /** One key each. */
  readonly sshKeys: readonly string[];
  /** Upgrade packages at the first start; default yes. */
  readonly ciupgrade?: boolean | undefined;
  readonly citype: CloudInitType;
  /** Whole files that take the place of ours (`cicustom`). */
  readonly custom?: { user?: string; meta?: string; network?: string; vendor?: string } | undefined;
}

export interface CloudInitFiles {
  readonly citype: CloudInitType;
  readonly userData: string;
  readonly metaData: string;
  readonly networkConfig: string;
  readonly vendorData?: string;
}

/** A drive has 4 MiB. Proxmox's limit. */
const MAX_TOTAL_BYTES = 3 << 20;

/** @throws `bad-argument` for addresses that are none, keys of several lines, and a password in the clear; `too-large` beyond 3 MiB in all. */
export function cloudInitFiles(options: CloudInitOptions): CloudInitFiles {
  const { vmid, citype, custom = {} } = options;
  const userData = custom.user ?? userConfig(options);
  const networkConfig =
    custom.network ?? (citype === 'nocloud' ? noCloudNetwork(options) : configDriveNetwork(options));
  const instance = instanceId([String(vmid), userData, networkConfig, custom.vendor ?? '']);
  const metaData =
    custom.meta ?? (citype === 'nocloud' ? writeYaml({ 'instance-id': instance }) : driveMetadata(instance));
  const vendor = custom.vendor === undefined ? {} : { vendorData: custom.vendor };
  const files = { citype, userData, metaData, networkConfig, ...vendor };
  const totalBytes = [userData, metaData, networkConfig, custom.vendor ?? ''].reduce(
    (sum, text) => sum + Buffer.byteLength(text),
    0,
  );
  if (totalBytes > MAX_TOTAL_BYTES)
    throw new HoldfastError(
      'too-large',
      `the cloud-init files of guest ${vmid} have ${totalBytes} bytes; a drive takes ${MAX_TOTAL_BYTES}`,
    );
  return files;
}

function userConfig({
  hostname,
  searchdomain,
  ciuser,
  cipassword,
  sshKeys,
  ciupgrade = true,
}: CloudInitOptions): string {
  if (cipassword !== undefined && !isHashedPassword(cipassword))
    throw new HoldfastError(
      'bad-argument',
      "cipassword is not hashed: set it again, or write what 'openssl passwd -6' prints",
    );
  // A second line would be a key of its own in the guest's authorized_keys.
  if (sshKeys.some((key) => /[\r\n]/.test(key)))
    throw new HoldfastError('bad-argument', 'an SSH key has several lines: give one key each');
  const [short = ''] = hostname.split('.');
  const domain = searchdomain?.split(/\s+/).find(Boolean);
  const isRoot = ciuser === 'root';
  return `#cloud-config\n${writeYaml({
    hostname: short,
    manage_etc_hosts: true,
    fqdn: hostname.includes('.') || domain === undefined ? hostname : `${hostname}.${domain}`,
    user: ciuser,
    disable_root: isRoot ? false : undefined,
    password: cipassword,
    ssh_authorized_keys: sshKeys.length > 0 ? sshKeys : undefined,
    chpasswd: { expire: false },
    users: isRoot ? undefined : ['default'],
    package_upgrade: ciupgrade ? true : undefined,
  })}`;
}

function driveMetadata(uuid: string): string {
  return `${JSON.stringify({ uuid, network_config: { content_path: '/content/0000' } }, undefined, 2)}\n`;
}

function instanceId(parts: readonly string[]): string {
  // As JSON: no two lists of parts are the same text.
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 40);
}
