// The configuration of a guest as its backup keeps it, in Proxmox's form: without what is true of this moment only, and with a line for each disk that says
// which archive it is.
import { DISK_KEYS, parseDrive } from '../../guests/config/drive.ts';
import { printVmConfig, withSettings } from '../../guests/config/vm-config.ts';
import type { GuestNode } from '../../guests/guest-node.ts';
import { type GuestId, parseVolumeId } from '../../schema/guest-names.ts';
import { readIfPresent } from '../../util/atomic-file.ts';
import { archivedDevice } from './vm-disk.ts';

/** Archive name -> content. */
export type ConfigBlobs = Readonly<Record<string, string>>;

export async function configBlobs(node: GuestNode, id: GuestId): Promise<ConfigBlobs> {
  const { config } = await node.configs.read(id);
  const unused = [...config.values.keys()].filter((key) => key.startsWith('unused'));
  const present = withSettings(config, {}, ['lock', 'parent', ...unused]);
  const text = printVmConfig({ ...present, snapshots: new Map(), pending: undefined, special: new Map() });
  const disks = DISK_KEYS.flatMap((key) => {
    const value = config.values.get(key);
    const drive = value === undefined ? undefined : parseDrive(key, value);
    if (drive === undefined || drive.media === 'cdrom' || !drive.backup) return [];
    const storage = drive.file.startsWith('/') ? '' : parseVolumeId(drive.file).storage;
    return [`#qmdump#map:${key}:${archivedDevice(key)}:${storage}:${/\.qcow2$/.test(drive.file) ? 'qcow2' : 'raw'}:`];
  });
  const firewall = await readIfPresent(node.directory.firewallFile(id));
  return {
    'qemu-server.conf': [text.trimEnd(), ...disks, ''].join('\n'),
    ...(firewall !== undefined && { 'qemu-server.fw': firewall }),
  };
}
