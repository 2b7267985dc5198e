// qm clone: a stopped guest, or one of its snapshots, becomes another guest with copies of its disks and an identity of its own.
import { copyFile } from 'node:fs/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { type Drive, isUnusedKey, printDrive } from '../config/drive.ts';
import { freshIdentity } from '../config/identity.ts';
import { isNetKey, parseNetDevice, printNetDevice, randomMac } from '../config/net-device.ts';
import { type ConfigSection, EMPTY_CONFIG } from '../config/vm-config.ts';
import { checkSetting } from '../config/vm-keys.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import type { ImageFormat } from '../storage/storage.ts';
import { requireUnlocked } from './config-lock.ts';
import { removeGuestFiles } from './guest-files.ts';
import { requireSnapshot } from './list-snapshots.ts';
import { requireStopped } from './machine-state.ts';
import { formatOfCopy, NewVolumes } from './new-volumes.ts';
import { drivesOf, isCloudInitDrive } from './owned-volumes.ts';
import { settle } from './put-away.ts';
import { reserveGuest } from './reserve.ts';

export interface CloneOptions {
  readonly signal?: AbortSignal | undefined;
  /** Of the new guest; default `Copy-of-` and the old one's. */
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  /** What is copied; default the present. */
  readonly snapshot?: string | undefined;
  /** For all disks; default each one's own. */
  readonly storage?: string | undefined;
  readonly format?: ImageFormat | undefined;
}

/** What belongs to the old guest alone. */
const NOT_COPIED = [
  'lock',
  'parent',
  'snaptime',
  'snapstate',
  'vmstate',
  'runningmachine',
  'runningcpu',
  'template',
  'protection',
  'meta',
];

/** @throws `guest-running` (stop the source), `guest-locked`, `not-found`, `exists`, and what copying throws; nothing is left then. */
export async function cloneVm(
  node: GuestNode,
  id: GuestId,
  newId: GuestId,
  options: CloneOptions,
  report: Report,
): Promise<void> {
  const { signal } = options;
  await withGuestLock(node, id, { signal }, async () => {
    await settle(node, id, report);
    const { config } = await node.configs.read(id);
    requireUnlocked(id, config);
    await requireStopped(node, id, `its disks are copied while it is stopped: holdfast vm shutdown ${id}`, signal);
    const section = options.snapshot === undefined ? config : requireSnapshot(id, config, options.snapshot);
    await makeClone(node, id, newId, section, options, report);
  });
}

async function makeClone(
  node: GuestNode,
  id: GuestId,
  newId: GuestId,
  section: ConfigSection,
  options: CloneOptions,
  report: Report,
): Promise<void> {
  const name = options.name ?? `Copy-of-${section.values.get('name') ?? `VM-${id}`}`;
  const newName = checkSetting('name', name);
  const newLock = await reserveGuest(node, newId, 'clone', options.signal);
  try {
    const volumes = new NewVolumes(node, newId, report, options.signal);
    try {
      const values = new Map([...section.values].filter(([key]) => !NOT_COPIED.includes(key) && !isUnusedKey(key)));
      for (const drive of drivesOf(section))
        values.set(drive.key, printDrive(await cloneDrive(node, drive, volumes, options)));
      values.set('name', newName);
      for (const [key, value] of withOwnIdentity(values)) values.set(key, value);
      await copyFirewall(node, id, newId);
      const description = options.description ?? (options.snapshot === undefined ? section.description : undefined);
      await node.configs.write(newId, { ...EMPTY_CONFIG, values, description });
    } catch (error) {
      await volumes.discard();
      await node.configs.remove(newId);
      await removeGuestFiles(node, newId);
      throw error;
    }
  } finally {
    newLock.release();
  }
}

async function cloneDrive(node: GuestNode, drive: Drive, volumes: NewVolumes, options: CloneOptions): Promise<Drive> {
  if (isCloudInitDrive(drive)) {
    const { storage } = await node.storages.resolve(drive.file);
    return await volumes.provide({ ...drive, file: `${options.storage ?? storage.id}:cloudinit` });
  }
  if (drive.media === 'cdrom') return drive;
  if (drive.file.startsWith('/'))
    throw new HoldfastError(
      'target-unfit',
      `${drive.key}: ${drive.file} is not a volume of a storage and is not copied; detach it first`,
    );
  const from = await node.storages.volume(drive.file, options.snapshot);
  const storage = options.storage === undefined ? from.storage : await node.storages.get(options.storage);
  const format = formatOfCopy(drive, from, storage, options.format);
  const volume = await volumes.copy(from, storage, format, `${drive.key}: copy of ${drive.file}`);
  return { ...drive, file: volume.id, size: volume.sizeBytes, format: undefined };
}

/** Two guests with one MAC address or one UUID disturb each other, and guests know a copy by a new generation id. */
function withOwnIdentity(values: ReadonlyMap<string, string>): [string, string][] {
  const { smbios1, vmgenid } = freshIdentity();
  const others = (values.get('smbios1') ?? '').split(',').filter((part) => part !== '' && !part.startsWith('uuid='));
  const changed: [string, string][] = [['smbios1', [smbios1, ...others].join(',')]];
  if (values.get('vmgenid') !== '0') changed.push(['vmgenid', vmgenid]);
  for (const [key, value] of values)
    if (isNetKey(key)) changed.push([key, printNetDevice({ ...parseNetDevice(key, value), macaddr: randomMac() })]);
  return changed;
}

async function copyFirewall(node: GuestNode, id: GuestId, newId: GuestId): Promise<void> {
  try {
    await copyFile(node.directory.firewallFile(id), node.directory.firewallFile(newId));
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
