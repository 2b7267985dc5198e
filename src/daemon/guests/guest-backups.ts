// Backups and restores of guests for the guest dialect: orders to the agent of this machine, each a part of the task that asks for it.
import type { BackupService, GuestBackup, GuestRestore, OrderWork } from '../../api/guest/services.ts';
import { pruneGroup } from '../../api/stores/store-work.ts';
import type { KeepCounts } from '../../datastore/prune/keep-rules.ts';
import type { TaskWork } from '../../jobs/tasks/task.ts';
import type { AuthId } from '../../schema/auth-id.ts';
import { formatTime, parseGroup } from '../../schema/names.ts';
import type { Order } from '../../transport/control/orders.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { StoreKindParts } from '../jobs/store-options.ts';
import { type DatastoreStorages, parseBackupVolume, ROOT_NAMESPACE } from './datastore-storages.ts';

/** Of the agent of this machine. */
interface Orders {
  isOnline(): boolean;
  run(order: Order, work: OrderWork): Promise<unknown>;
}

export class GuestBackups implements BackupService {
  readonly #orders: Orders;
  readonly #storages: DatastoreStorages;
  readonly #get: StoreKindParts['get'];

  constructor(orders: Orders, storages: DatastoreStorages, get: StoreKindParts['get']) {
    this.#orders = orders;
    this.#storages = storages;
    this.#get = get;
  }

  requireReady(): void {
    if (this.#orders.isOnline()) return;
    throw new HoldfastError(
      'node-offline',
      'the agent of this machine makes backups and restores of guests, and it is not connected: start the server with --local-agent',
    );
  }

  async backup({ storage, vmid, ...wish }: GuestBackup, work: OrderWork): Promise<unknown> {
    this.requireReady();
    return await this.#orders.run(
      {
        kind: 'vm-backup',
        store: storage,
        vmid,
        mode: wish.mode,
        lockwait: wish.lockwaitMinutes,
        protected: wish.isProtected,
        ...(wish.ionice !== undefined && { ionice: wish.ionice }),
        ...(wish.bwlimit !== undefined && { bwlimit: wish.bwlimit }),
        ...(wish.notesTemplate !== undefined && { 'notes-template': wish.notesTemplate }),
        ...(wish.fleecingStorage !== undefined && { 'fleecing-storage': wish.fleecingStorage }),
        ...(wish.script !== undefined && { script: wish.script }),
      },
      work,
    );
  }

  async prune(storage: string, vmid: number, counts: KeepCounts, work: TaskWork): Promise<void> {
    await pruneGroup(await this.#get(storage), ROOT_NAMESPACE, parseGroup(`vm/${vmid}`), counts, work);
  }

  async restore({ volid, vmid, ...wish }: GuestRestore, work: OrderWork): Promise<void> {
    this.requireReady();
    const { store, name } = parseBackupVolume(volid);
    await this.#orders.run(
      {
        kind: 'vm-restore',
        store,
        snapshot: `${name.group}/${formatTime(name.time)}`,
        newid: vmid,
        force: wish.force,
        unique: wish.unique,
        'live-restore': wish.isLive,
        start: wish.start && !wish.isLive,
        ...(wish.storage !== undefined && { storage: wish.storage }),
        ...(wish.isLive && wish.bwlimit !== undefined && { bwlimit: wish.bwlimit }),
      },
      work,
    );
  }

  async config(volid: string, caller: AuthId): Promise<string | undefined> {
    return await this.#storages.backupConfig(volid, caller);
  }

  async change(
    volid: string,
    change: { readonly notes?: string; readonly protected?: boolean },
    mayClear: boolean,
  ): Promise<void> {
    await this.#storages.changeBackup(volid, change, mayClear);
  }
}
