// The datastores of the server beside the storages of its machine: each is a storage of type `pbs` that holds backups of guests, those of its
// root namespace. A storage of the machine with the same name goes before.
import { Downloads } from '../../api/downloads/downloads.ts';
import type { StorageEntry, StorageService, StoredVolume } from '../../api/guest/services.ts';
import type { Datastores, OpenDatastore, TaskCalls } from '../../api/services.ts';
import { SnapshotViews } from '../../api/snapshots/snapshot-views.ts';
import { Verdicts } from '../../api/snapshots/verdicts.ts';
import { spaceOn } from '../../api/stores/store-space.ts';
import type { SnapshotName } from '../../datastore/snapshots/group-store.ts';
import type { AuthId } from '../../schema/auth-id.ts';
import { parseGuestId } from '../../schema/guest-names.ts';
import { formatTime, type Namespace, parseGroup, parseTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';

/** Where a storage's backups are. */
export const ROOT_NAMESPACE = '' as Namespace;
const VOLUME = /^([A-Za-z0-9_][A-Za-z0-9._-]*):backup\/(vm\/[A-Za-z0-9_][A-Za-z0-9._-]*)\/([0-9TZ:.+-]{1,40})$/;
const CONFIG_BLOB = 'qemu-server.conf';
const MAX_CONFIG_BYTES = 1024 * 1024;

export interface BackupVolume {
  readonly store: string;
  readonly name: SnapshotName;
}

/** `tank:backup/vm/100/2026-11-22T01:00:00Z`. @throws `not-found` for what is no backup of a virtual machine. */
export function parseBackupVolume(volid: string): BackupVolume {
  const [, store, group, label] = VOLUME.exec(volid) ?? [];
  if (store === undefined || group === undefined || label === undefined)
    throw new HoldfastError('not-found', `'${volid.slice(0, 200)}' is no backup of a virtual machine`);
  return { store, name: { ns: ROOT_NAMESPACE, group: parseGroup(group), time: parseTime(label) } };
}

export class DatastoreStorages implements StorageService {
  readonly #own: StorageService;
  readonly #datastores: Pick<Datastores, 'list' | 'get' | 'state'>;
  readonly #tasks: Pick<TaskCalls, 'list'>;
  readonly #views = new SnapshotViews();
  readonly #verdicts = new Verdicts();
  readonly #downloads = new Downloads();

  /** `own`: of the machine. */
  constructor(
    own: StorageService,
    datastores: Pick<Datastores, 'list' | 'get' | 'state'>,
    tasks: Pick<TaskCalls, 'list'>,
  ) {
    this.#own = own;
    this.#datastores = datastores;
    this.#tasks = tasks;
  }

  async list(): Promise<readonly StorageEntry[]> {
    const own = await this.#own.list();
    const taken = new Set(own.map(({ storage }) => storage));
    const more = this.#datastores.list().filter(({ name }) => !taken.has(name));
    return [...own, ...more.map(({ name }) => entryOf(name))];
  }

  async digest(): Promise<string> {
    return await this.#own.digest();
  }

  async status(storage: string) {
    if (!(await this.isDatastore(storage))) return await this.#own.status(storage);
    // One that is offline or broken is not active.
    if (this.#datastores.state(storage).reason !== undefined)
      return { isActive: false, totalBytes: 0, usedBytes: 0, availableBytes: 0 };
    const { path } = this.#datastores.list().find(({ name }) => name === storage) ?? { path: '' };
    const { total, used, avail } = spaceOn(path);
    return { isActive: true, totalBytes: total, usedBytes: used, availableBytes: avail };
  }

  async volumes(storage: string, filter: { readonly content?: string; readonly vmid?: number }) {
    if (!(await this.isDatastore(storage))) return await this.#own.volumes(storage, filter);
    if (filter.content !== undefined && filter.content !== 'backup') return [];
    const open = await this.#datastores.get(storage);
    const view = this.#views.of(open.store);
    const found: StoredVolume[] = [];
    for (const { name: group, times } of await view.groups(ROOT_NAMESPACE)) {
      if (!group.startsWith('vm/') || (filter.vmid !== undefined && group !== `vm/${filter.vmid}`)) continue;
      for (const time of times) {
        const volume = await this.#stored(open, { ns: ROOT_NAMESPACE, group, time });
        if (volume !== undefined) found.push(volume);
      }
    }
    return found;
  }

  async volume(volid: string) {
    const [storage = ''] = volid.split(':', 1);
    if (!(await this.isDatastore(storage))) return await this.#own.volume(volid);
    const { name } = parseBackupVolume(volid);
    const open = await this.#datastores.get(storage);
    const found = await this.#stored(open, name);
    if (found === undefined) throw new HoldfastError('not-found', `volume '${volid}' does not exist`);
    return { ...found, path: found.volid };
  }

  async allocate(storage: string, volume: Parameters<StorageService['allocate']>[1]): Promise<string> {
    if (await this.isDatastore(storage))
      throw new HoldfastError('bad-argument', `storage '${storage}' is a datastore: it holds backups, and no disks`);
    return await this.#own.allocate(storage, volume);
  }

  async remove(volid: string, work: Parameters<StorageService['remove']>[1]): Promise<void> {
    const [storage = ''] = volid.split(':', 1);
    if (!(await this.isDatastore(storage))) return await this.#own.remove(volid, work);
    const { name } = parseBackupVolume(volid);
    await (await this.#datastores.get(storage)).store.forget(name);
    work.log(`removed ${volid}`);
  }

  /** Of the backup of a guest. @throws `not-found`, `protected` and what else keeps it from being changed. */
  async changeBackup(
    volid: string,
    change: { readonly notes?: string; readonly protected?: boolean },
    mayClear: boolean,
  ): Promise<void> {
    const { store, name } = await this.#backup(volid);
    await (await this.#datastores.get(store)).store.updateSnapshot(name, change, mayClear);
  }

  /** The configuration that a backup holds; undefined for one that is encrypted, to which the server has no key. */
  async backupConfig(volid: string, caller: AuthId): Promise<string | undefined> {
    const { store, name } = await this.#backup(volid);
    const open = await this.#datastores.get(store);
    const manifest = await this.#views.of(open.store).reader.manifest(name);
    const archive = manifest?.client.archives.find((each) => each.name === CONFIG_BLOB);
    if (manifest === undefined || archive === undefined)
      throw new HoldfastError('not-found', `${volid} holds no configuration of a virtual machine`);
    if (manifest.client.key !== null) return undefined;
    if (archive.sizeBytes > MAX_CONFIG_BYTES)
      throw new HoldfastError('too-large', `the configuration in ${volid} is larger than ${MAX_CONFIG_BYTES} bytes`);
    const wanted = { what: 'archive', span: undefined } as const;
    const { stream, release } = await this.#downloads.start({ open, name, caller, archive: CONFIG_BLOB, wanted });
    try {
      const parts: Buffer[] = [];
      for await (const part of stream) parts.push(part as Buffer);
      return Buffer.concat(parts).toString('utf8');
    } finally {
      release();
    }
  }

  async isDatastore(storage: string): Promise<boolean> {
    if (!this.#datastores.list().some(({ name }) => name === storage)) return false;
    return !(await this.#own.list()).some((each) => each.storage === storage);
  }

  async #backup(volid: string): Promise<BackupVolume> {
    const found = parseBackupVolume(volid);
    if (!(await this.isDatastore(found.store)))
      throw new HoldfastError('not-found', `storage '${found.store}' is no datastore of this server`);
    return found;
  }

  /** Undefined when it is not there. */
  async #stored({ name: store, store: held }: OpenDatastore, name: SnapshotName): Promise<StoredVolume | undefined> {
    const view = this.#views.of(held);
    if (!(await view.reader.times(name.ns, name.group)).includes(name.time)) return undefined;
    const row = await view.row(name);
    if (row === undefined) return undefined;
    const verification = (await this.#verdicts.of(store, held, this.#tasks))(row.session);
    const vmid = vmidOf(name.group);
    return {
      volid: `${store}:backup/${name.group}/${formatTime(name.time)}`,
      content: 'backup',
      format: 'pbs-vm',
      sizeBytes: row.size ?? 0,
      created: name.time,
      isProtected: row.protected,
      ...(vmid !== undefined && { vmid }),
      ...(row.notes !== '' && { notes: row.notes }),
      ...(row.fingerprint !== undefined && { encrypted: row.fingerprint }),
      ...(verification !== undefined && { verification }),
    };
  }
}

function entryOf(name: string): StorageEntry {
  return {
    storage: name,
    type: 'pbs',
    content: ['backup'],
    isEnabled: true,
    isShared: true,
    options: { server: 'localhost', datastore: name },
  };
}

/** Undefined for a group that clients named otherwise. */
function vmidOf(group: string): number | undefined {
  try {
    return parseGuestId(group.slice('vm/'.length));
  } catch {
    return undefined;
  }
}
