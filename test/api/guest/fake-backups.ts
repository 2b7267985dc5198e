// Backups of guests in memory, behind the interface that the guest dialect asks for: what was asked is kept, and guests can be made to fail or to last.
import { once } from 'node:events';
import type { BackupService, GuestBackup, GuestRestore, OrderWork } from '../../../src/api/guest/services.ts';
import type { KeepCounts } from '../../../src/datastore/prune/keep-rules.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

export class FakeBackups implements BackupService {
  readonly made: GuestBackup[] = [];
  readonly restored: GuestRestore[] = [];
  readonly changed: {
    readonly volid: string;
    readonly notes?: string;
    readonly protected?: boolean;
    readonly mayClear: boolean;
  }[] = [];
  /** Guests whose backup fails, and those whose backup lasts until it is aborted. */
  readonly failing = new Set<number>();
  readonly lasting = new Set<number>();
  readonly pruned: { readonly storage: string; readonly vmid: number; readonly counts: KeepCounts }[] = [];
  isReady = true;
  configText: string | undefined = 'memory: 64\nscsi0: disks:vm-100-disk-0,size=1G\n';

  requireReady(): void {
    if (!this.isReady) throw new HoldfastError('node-offline', 'the agent is not connected');
  }
  async backup(wish: GuestBackup, work: OrderWork): Promise<void> {
    this.made.push(wish);
    work.log(`reading ${wish.vmid}`);
    if (this.failing.has(wish.vmid)) throw new HoldfastError('guest-failed', 'its disk is broken');
    if (!this.lasting.has(wish.vmid)) return;
    await once(work.signal, 'abort');
    throw work.signal.reason;
  }
  async prune(storage: string, vmid: number, counts: KeepCounts): Promise<void> {
    this.pruned.push({ storage, vmid, counts });
  }
  async restore(wish: GuestRestore): Promise<void> {
    this.restored.push(wish);
  }
  async config(): Promise<string | undefined> {
    return this.configText;
  }
  async change(
    volid: string,
    change: { readonly notes?: string; readonly protected?: boolean },
    mayClear: boolean,
  ): Promise<void> {
    this.changed.push({ volid, ...change, mayClear });
  }
}
