// What alarms and figures look at: of each group its last good snapshot, of each datastore when it will be full and what was verified when. A
// snapshot is good when its manifest can be read and no verification found damage. Manifests are read once, as for lists.
import type { Datastores } from '../../api/services.ts';
import { SnapshotViews } from '../../api/snapshots/snapshot-views.ts';
import { Forecasts } from '../../api/stores/forecast.ts';
import { spaceOn } from '../../api/stores/store-space.ts';
import type { HeldDatastore } from '../../datastore/held-datastore.ts';
import { Proofs } from '../../datastore/verify/proofs.ts';
import type { DatastoreFact, GroupFact } from '../../notify/alarms/alarm-rules.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';

/** Snapshots of a group that are looked at, from the newest, until one is good. */
const MAX_LOOKED_AT = 100;
const DAY_SECONDS = 86_400;

export interface GroupFigures extends GroupFact {
  /** Of its last good snapshot. */
  readonly sizeBytes: number | undefined;
  /** What its last counted snapshot added, before compression. */
  readonly newBytes: number | undefined;
}

export interface StoreFacts {
  readonly groups: readonly GroupFigures[];
  readonly datastores: readonly DatastoreFact[];
  /** Datastores that could not be asked. */
  readonly unknown: ReadonlySet<string>;
}

export class StoreFactsSource {
  readonly #datastores: Pick<Datastores, 'list' | 'get'>;
  readonly #views = new SnapshotViews();
  readonly #forecasts = new Forecasts();

  constructor(datastores: Pick<Datastores, 'list' | 'get'>) {
    this.#datastores = datastores;
  }

  /** `now` in Unix seconds; a snapshot that is younger than `verifyDays` need not be verified yet. */
  async read(now: number, verifyDays: number, signal: AbortSignal): Promise<StoreFacts> {
    const groups: GroupFigures[] = [];
    const datastores: DatastoreFact[] = [];
    const unknown = new Set<string>();
    for (const { name, path } of this.#datastores.list()) {
      try {
        const { store } = await this.#datastores.get(name);
        const found = await this.#ofStore(name, store, now - verifyDays * DAY_SECONDS, signal);
        const full = await this.#forecasts.fullAt(path, spaceOn(path).avail, now);
        groups.push(...found.groups);
        datastores.push({ name, fullAt: full === 0 ? undefined : full, oldestVerify: found.oldestVerify });
      } catch {
        signal.throwIfAborted();
        // Offline, or closed: what is known of it stays as it is.
        unknown.add(name);
      }
    }
    return { groups, datastores, unknown };
  }

  async #ofStore(
    datastore: string,
    store: HeldDatastore,
    verifiedBefore: number,
    signal: AbortSignal,
  ): Promise<{ groups: GroupFigures[]; oldestVerify: number | undefined }> {
    const view = this.#views.of(store);
    const proofs = await Proofs.load(store.layout.verifyState, store.config.store);
    const added = new Map<string, number>();
    for (const { ns, group, bytesNew } of (await store.accounting())?.snapshots ?? [])
      added.set(`${ns}\n${group}`, bytesNew);
    const groups: GroupFigures[] = [];
    let oldestVerify: number | undefined;
    for (const ns of await store.groups.namespaces()) {
      for (const { name: group, times } of await view.groups(ns)) {
        signal.throwIfAborted();
        if (times.length === 0) continue;
        const good = await this.#lastGood(store, { ns, group }, times, proofs);
        groups.push({ datastore, ns, group, ...good, newBytes: added.get(`${ns}\n${group}`) });
        for (const time of times) {
          if (time > verifiedBefore) break;
          const row = await view.row({ ns, group, time });
          const verified = Math.floor((proofs.snapshot(row?.session ?? '')?.verifiedMs ?? 0) / 1000);
          oldestVerify = Math.min(oldestVerify ?? verified, verified);
        }
      }
    }
    return { groups, oldestVerify };
  }

  async #lastGood(
    store: HeldDatastore,
    { ns, group }: { readonly ns: Namespace; readonly group: GroupName },
    times: readonly number[],
    proofs: Proofs,
  ): Promise<Pick<GroupFigures, 'lastGood' | 'sizeBytes'>> {
    for (const time of times.slice(-MAX_LOOKED_AT).reverse()) {
      const row = await this.#views.of(store).row({ ns, group, time });
      if (row === undefined || row.session === '' || proofs.snapshot(row.session)?.damaged === true) continue;
      return { lastGood: time, sizeBytes: row.size };
    }
    return { lastGood: undefined, sizeBytes: undefined };
  }
}
