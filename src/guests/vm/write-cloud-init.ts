// The drive that cloud-init reads, made anew from the configuration at each start, when there is one.
import { readFile, stat } from 'node:fs/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type CloudInitFiles, type CloudInitType, cloudInitFiles } from '../cloud-init/cloud-init-files.ts';
import { readHostResolver } from '../cloud-init/host-resolver.ts';
import { DRIVE_BYTES, writeCloudInitDrive } from '../cloud-init/write-drive.ts';
import { parseIpConfig, parseNameservers, parseSearchDomains, parseSshKeys } from '../config/cloud-init-options.ts';
import { CICUSTOM_FORMAT } from '../config/hardware-formats.ts';
import { NET_COUNT, parseNetDevice } from '../config/net-device.ts';
import { parseProperties } from '../config/property-string.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { GuestNode } from '../guest-node.ts';
import type { LocatedVolume } from '../storage/storages.ts';
import { parseVolumeName } from '../storage/volume-name.ts';
import { cloudInitStem, cloudInitVolume, drivesOf, isCloudInitDrive } from './owned-volumes.ts';

const MAX_CUSTOM_BYTES = 3 << 20;

/** Call with the guest's lock, and before QEMU opens the drive. @throws `bad-argument`, `not-found` (a custom file), `tool-missing`, `write-failed`. */
export async function writeCloudInit(
  node: GuestNode,
  id: GuestId,
  config: VmConfig,
  signal?: AbortSignal,
): Promise<void> {
  const drives = drivesOf(config).filter(isCloudInitDrive);
  if (drives.length === 0) return;
  const files = await cloudInitOf(node, id, config);
  for (const drive of drives) {
    const { path, format } = await locateOrMake(node, id, drive.file, signal);
    await writeCloudInitDrive(path, files, format, signal);
  }
}

/** A restore only names the drive: what is on it is made here anyway. */
async function locateOrMake(
  node: GuestNode,
  id: GuestId,
  file: string,
  signal: AbortSignal | undefined,
): Promise<LocatedVolume> {
  try {
    return await node.storages.volume(file);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'not-found') throw error;
    const { storage, name } = await node.storages.resolve(file);
    const { vmid, format } = parseVolumeName(name);
    if (vmid !== id || file !== cloudInitVolume(storage.id, id, format)) throw error;
    await storage.allocate({ vmid, sizeBytes: DRIVE_BYTES, format, name: cloudInitStem(id) }, signal);
  }
  return await node.storages.volume(file);
}

/** What the configuration tells the guest, as files. */
export async function cloudInitOf(node: GuestNode, id: GuestId, { values }: VmConfig): Promise<CloudInitFiles> {
  const host = await readHostResolver();
  const [nameserver, searchdomain, sshkeys] = [
    values.get('nameserver'),
    values.get('searchdomain'),
    values.get('sshkeys'),
  ];
  const cards = Array.from({ length: NET_COUNT }, (_, index) => index);
  return cloudInitFiles({
    vmid: id,
    hostname: values.get('name') ?? `VM${id}`,
    ciuser: values.get('ciuser'),
    cipassword: values.get('cipassword'),
    sshKeys: sshkeys === undefined ? [] : parseSshKeys(sshkeys),
    ciupgrade: values.get('ciupgrade') !== '0',
    citype: typeOf(values),
    custom: await customFiles(node, values.get('cicustom')),
    ipconfig: cards.map((index) =>
      mapped(values.get(`ipconfig${index}`), (text) => parseIpConfig(`ipconfig${index}`, text)),
    ),
    macs: cards.map((index) =>
      mapped(values.get(`net${index}`), (text) => parseNetDevice(`net${index}`, text).macaddr),
    ),
    nameserver: nameserver === undefined ? host.nameserver : parseNameservers(nameserver).join(' '),
    searchdomain: searchdomain === undefined ? host.searchdomain : parseSearchDomains(searchdomain).join(' '),
  });
}

function typeOf(values: ReadonlyMap<string, string>): CloudInitType {
  const byDefault = /^w(?!xp)/.test(values.get('ostype') ?? '') ? 'configdrive2' : 'nocloud';
  const type = values.get('citype') ?? byDefault;
  if (type === 'nocloud' || type === 'configdrive2') return type;
  throw new HoldfastError('bad-argument', `citype: ${type} cannot be made here; use nocloud or configdrive2`, {
    data: { key: 'citype' },
  });
}

async function customFiles(node: GuestNode, cicustom: string | undefined): Promise<Record<string, string> | undefined> {
  if (cicustom === undefined) return undefined;
  const files: Record<string, string> = {};
  for (const [part, volume] of Object.entries(parseProperties(cicustom, CICUSTOM_FORMAT, 'cicustom'))) {
    if (volume === undefined) continue;
    const { path } = await node.storages.volume(volume);
    const { size } = await stat(path);
    if (size > MAX_CUSTOM_BYTES)
      throw new HoldfastError('too-large', `cicustom: ${volume} has ${size} bytes; it takes ${MAX_CUSTOM_BYTES}`);
    files[part] = await readFile(path, 'utf8');
  }
  return files;
}

function mapped<Value>(text: string | undefined, read: (text: string) => Value): Value | undefined {
  return text === undefined ? undefined : read(text);
}
