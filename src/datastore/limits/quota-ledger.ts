// Quotas of a holder's open sessions. A counter per quota runs while sessions under it are open; what they commit moves from the counter
// to the usage that manifests and accounting tell, and must not count twice.
import type { Limits } from '../../schema/limits-file.ts';
import type { Namespace } from '../../schema/names.ts';
import { type QuotaShare, quotaExceeded } from './allowance.ts';

/** Bytes on disk that count against quotas now, of all snapshots that are there. */
export interface QuotaUsage {
  /** Of a namespace and all below it. */
  namespaceBytes(ns: string): number;
  ownerBytes(owner: string): number;
}

interface Counter {
  readonly spent: SharedArrayBuffer;
  /** Bytes of `spent` that are part of the usage by now. */
  committedBytes: number;
  sessions: number;
}

export class QuotaLedger {
  readonly #counters = new Map<string, Counter>();

  /**
   * The quotas that bind a session, counted from now on.
   * @throws `quota-exceeded` when one is used up already.
   */
  enter(
    limits: Limits,
    usage: QuotaUsage,
    session: { readonly ns: Namespace; readonly owner: string },
  ): readonly QuotaShare[] {
    const shares = [...namespaceQuotas(limits, usage, session.ns), ...ownerQuotas(limits, usage, session.owner)].map(
      ({ name, quotaBytes, usedBytes }): QuotaShare => {
        const { spent, committedBytes } = this.#counters.get(name) ?? emptyCounter();
        return { name, quotaBytes, ceilingBytes: quotaBytes - usedBytes + committedBytes, spent };
      },
    );
    for (const share of shares) {
      const over = spentOf(share) - share.ceilingBytes;
      if (over >= 0) throw quotaExceeded(share, over);
    }
    for (const { name, spent } of shares) {
      const counter = this.#counters.get(name) ?? { ...emptyCounter(), spent };
      counter.sessions++;
      this.#counters.set(name, counter);
    }
    return shares;
  }

  /** A session is over; `storedBytes` are its own. What did not become a snapshot counts against no quota: it goes unless a retry takes it. */
  leave(shares: readonly QuotaShare[], storedBytes: number, committed: boolean): void {
    for (const { name, spent } of shares) {
      const counter = this.#counters.get(name);
      if (counter === undefined) continue;
      if (committed) counter.committedBytes += storedBytes;
      else Atomics.sub(new BigInt64Array(spent), 0, BigInt(storedBytes));
      counter.sessions--;
      if (counter.sessions === 0) this.#counters.delete(name);
    }
  }
}

interface Bound {
  readonly name: string;
  readonly quotaBytes: number;
  readonly usedBytes: number;
}

function namespaceQuotas({ quotas }: Limits, usage: QuotaUsage, ns: string): Bound[] {
  return withAncestors(ns).flatMap((each) => {
    const quotaBytes = quotas.namespaces[each];
    if (quotaBytes === undefined) return [];
    return [{ name: namespaceQuotaName(each), quotaBytes, usedBytes: usage.namespaceBytes(each) }];
  });
}

function ownerQuotas({ quotas }: Limits, usage: QuotaUsage, owner: string): Bound[] {
  const quotaBytes = quotas.owners[owner];
  return quotaBytes === undefined ? [] : [{ name: `owner ${owner}`, quotaBytes, usedBytes: usage.ownerBytes(owner) }];
}

export function namespaceQuotaName(ns: string): string {
  return ns === '' ? 'the root namespace' : `namespace ${ns}`;
}

/** `a/b` -> `a/b`, `a` and the root. */
export function withAncestors(ns: string): string[] {
  const parts = ns === '' ? [] : ns.split('/');
  return [...parts.map((_, place) => parts.slice(0, parts.length - place).join('/')), ''];
}

function emptyCounter(): Counter {
  return { spent: new SharedArrayBuffer(8), committedBytes: 0, sessions: 0 };
}

function spentOf({ spent }: QuotaShare): number {
  return Number(Atomics.load(new BigInt64Array(spent), 0));
}
