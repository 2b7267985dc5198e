// What sessions may store: free space and quotas at the moment in which each is opened, counted while they are open.
import type { Limits } from '../../schema/limits-file.ts';
import type { Namespace } from '../../schema/names.ts';
import type { RememberedAccounting } from '../accounting/accounting-file.ts';
import { presentSnapshots, usageOf } from '../accounting/present-snapshots.ts';
import type { Layout } from '../layout.ts';
import type { GroupStore } from '../snapshots/group-store.ts';
import type { AllowanceDescriptor, QuotaShare } from './allowance.ts';
import { lowSpaceLimit, requireSpace, spaceOf } from './low-space.ts';
import { QuotaLedger } from './quota-ledger.ts';

interface Storing {
  readonly ns: Namespace;
  readonly owner: string;
}

export class SessionAllowances {
  readonly #layout: Layout;
  readonly #groups: GroupStore;
  readonly #accounting: RememberedAccounting;
  readonly #quotas = new QuotaLedger();

  constructor(layout: Layout, groups: GroupStore, accounting: RememberedAccounting) {
    this.#layout = layout;
    this.#groups = groups;
    this.#accounting = accounting;
  }

  /** What a session may store under the limits of this moment; it is to be left. @throws `quota-exceeded`, `disk-full`. */
  async enter(limits: Limits, session: Storing): Promise<AllowanceDescriptor> {
    const { root } = this.#layout;
    const lowSpaceBytes = lowSpaceLimit(limits.lowSpaceBytes, spaceOf(root).totalBytes);
    requireSpace(root, lowSpaceBytes);
    return { root, lowSpaceBytes, quotas: await this.#quotasOf(limits, session), stored: new SharedArrayBuffer(8) };
  }

  /** The session is over, with a snapshot when it is `committed`. */
  leave({ quotas, stored }: AllowanceDescriptor, committed: boolean): void {
    this.#quotas.leave(quotas, Number(Atomics.load(new BigInt64Array(stored), 0)), committed);
  }

  async #quotasOf(limits: Limits, session: Storing): Promise<readonly QuotaShare[]> {
    const { namespaces, owners } = limits.quotas;
    if (Object.keys(namespaces).length === 0 && Object.keys(owners).length === 0) return [];
    const { snapshots } = await presentSnapshots(this.#groups, await this.#accounting.read());
    return this.#quotas.enter(limits, usageOf(snapshots), session);
  }
}
