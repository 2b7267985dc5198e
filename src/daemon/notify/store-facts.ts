// What alarms and figures look at: of each group its last good snapshot, of each datastore when it will be full and what was verified when. A
// snapshot is good when its manifest can be read and no verification found damage. Manifests are read once, as for lists.
import type { Datastores } from '../../api/services.ts';
import { type SnapshotView, SnapshotViews } from '../../api/snapshots/snapshot-views.ts';
import { Forecasts } from '../../api/stores/forecast.ts';
import { describeAnomaly } from '../../datastore/anomaly/describe-anomaly.ts';
import { isHeld } from '../../datastore/anomaly/watch-commit.ts';
import type { HeldDatastore } from '../../datastore/held-datastore.ts';
import { askSpace } from '../../datastore/limits/low-space.ts';
import { Proofs } from '../../datastore/verify/proofs.ts';
import type { DatastoreFact, GroupFact } from '../../notify/alarms/alarm-rules.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { Questions } from '../../util/questions.ts';
import { RememberedFiles } from '../../util/remembered-files.ts';

/** Snapshots of a group that are looked at, from the newest, until one is good. */
const MAX_LOOKED_AT = 100;
/** A datastore that has not answered for so long is unknown; the others have their turn. */
const PATIENCE_MS = 10 * 60_000;
/** Datastores of which proofs are kept. */
const MAX_PROOFS = 64;
const DAY_SECONDS = 86_400;

export interface GroupFigures extends GroupFact {
  /** Of its last good snapshot; so is how long making it took. */
  readonly sizeBytes: number | undefined;
  readonly durationSeconds: number | undefined;
  /** What its last counted snapshot added, before compression. */
  readonly newBytes: number | undefined;
}

export interface StoreFacts {
  readonly groups: readonly GroupFigures[];
  readonly datastores: readonly DatastoreFact[];
  /** Datastores that could not be asked, or not about all of their groups. */
  readonly unknown: ReadonlySet<string>;
}

interface FactsOfOne {
  readonly groups: readonly GroupFigures[];
  readonly fact: DatastoreFact;
  /** Of the first group that could not be read. */
  readonly problem: string | undefined;
}

export interface StoreFactsOptions {
  /** Told of a datastore that cannot be asked, for another reason than its maintenance; once as long as the reason stays. */
  readonly warn: (message: string, datastore: string) => void;
  /** Those of somebody else, so that both read a manifest once. */
  readonly views?: SnapshotViews | undefined;
  readonly patienceMs?: number | undefined;
}

export class StoreFactsSource {
  readonly #datastores: Pick<Datastores, 'list' | 'get'>;
  readonly #warn: StoreFactsOptions['warn'];
  readonly #views: SnapshotViews;
  readonly #forecasts = new Forecasts();
  readonly #proofs = new RememberedFiles<Proofs>(MAX_PROOFS);
  readonly #questions: Questions<FactsOfOne>;
  /** Datastore -> what was said of it. */
  readonly #said = new Map<string, string>();

  constructor(datastores: Pick<Datastores, 'list' | 'get'>, options: StoreFactsOptions) {
    this.#datastores = datastores;
    this.#warn = options.warn;
    this.#views = options.views ?? new SnapshotViews();
    this.#questions = new Questions(options.patienceMs ?? PATIENCE_MS);
  }

  /** `now` in Unix seconds; a snapshot that is younger than `verifyDays` need not be verified yet, with 0 none. @throws the signal's reason. */
  async read(now: number, verifyDays: number, signal: AbortSignal): Promise<StoreFacts> {
    const groups: GroupFigures[] = [];
    const datastores: DatastoreFact[] = [];
    const unknown = new Set<string>();
    const verifiedBefore = verifyDays === 0 ? Number.NEGATIVE_INFINITY : now - verifyDays * DAY_SECONDS;
    const entries = this.#datastores.list();
    for (const { name, path } of entries) {
      try {
        const ask = () => this.#ofOne(name, path, now, verifiedBefore, signal);
        const found = await this.#questions.within(name, ask, signal);
        if (found === undefined) throw new HoldfastError('timed-out', 'it does not answer');
        groups.push(...found.groups);
        datastores.push(found.fact);
        if (found.problem !== undefined) throw new HoldfastError('datastore-damaged', found.problem);
        this.#said.delete(name);
      } catch (error) {
        signal.throwIfAborted();
        // What is known of it stays as it is.
        unknown.add(name);
        this.#say(name, error as Error);
      }
    }
    for (const name of this.#said.keys()) if (!entries.some((entry) => entry.name === name)) this.#said.delete(name);
    return { groups, datastores, unknown };
  }

  #say(name: string, error: Error): void {
    const isExpected = error instanceof HoldfastError && error.code === 'datastore-maintenance';
    if (isExpected || this.#said.get(name) === error.message) return;
    this.#said.set(name, error.message);
    this.#warn(`alarms cannot look at all of it: ${error.message}`, name);
  }

  async #ofOne(
    name: string,
    path: string,
    now: number,
    verifiedBefore: number,
    signal: AbortSignal,
  ): Promise<FactsOfOne> {
    const { store } = await this.#datastores.get(name);
    const view = this.#views.of(store);
    const proofs = await this.#proofsOf(store);
    const added = new Map<string, number>();
    for (const { ns, group, bytesNew } of (await store.accounting())?.snapshots ?? [])
      added.set(`${ns}\n${group}`, bytesNew);
    const groups: GroupFigures[] = [];
    let oldestVerify: number | undefined;
    let problem: string | undefined;
    for (const ns of await store.groups.namespaces())
      for (const group of await view.reader.groups(ns)) {
        signal.throwIfAborted();
        try {
          const times = (await view.group(ns, group))?.times ?? [];
          if (times.length === 0) continue;
          const good = await lastGood(view, { ns, group }, times, proofs);
          const state = await view.reader.state(ns, group);
          const anomaly = isHeld(state) ? describeAnomaly(state.anomaly, true) : undefined;
          groups.push({ datastore: name, ns, group, ...good, anomaly, newBytes: added.get(`${ns}\n${group}`) });
          oldestVerify = await earlierVerify(oldestVerify, view, { ns, group }, times, verifiedBefore, proofs);
        } catch (error) {
          // One that is damaged keeps no alarm of the others away.
          problem ??= `${group}${ns === '' ? '' : ` in ${ns}`}: ${(error as Error).message}`;
        }
      }
    const full = await this.#forecasts.fullAt(path, (await askSpace(path)).freeBytes, now);
    return { groups, fact: { name, fullAt: full === 0 ? undefined : full, oldestVerify }, problem };
  }

  async #proofsOf(store: HeldDatastore): Promise<Proofs> {
    const path = store.layout.verifyState;
    const load = () => Proofs.load(path, store.config.store);
    // They are long, and change with verifications alone.
    return (await this.#proofs.get(path, async () => ({ value: await load(), cost: 1 }))) ?? (await load());
  }
}

interface Group {
  readonly ns: Namespace;
  readonly group: GroupName;
}

async function lastGood(
  view: SnapshotView,
  group: Group,
  times: readonly number[],
  proofs: Proofs,
): Promise<Pick<GroupFigures, 'lastGood' | 'sizeBytes' | 'durationSeconds'>> {
  for (const time of times.slice(-MAX_LOOKED_AT).reverse()) {
    const row = await view.row({ ...group, time });
    if (row === undefined || row.session === '' || proofs.snapshot(row.session)?.damaged === true) continue;
    return { lastGood: time, sizeBytes: row.size, durationSeconds: row.durationSeconds };
  }
  return { lastGood: undefined, sizeBytes: undefined, durationSeconds: undefined };
}

/** Of `oldest` and the snapshots that are old enough to be verified; 0, for never, is the earliest. */
async function earlierVerify(
  oldest: number | undefined,
  view: SnapshotView,
  group: Group,
  times: readonly number[],
  verifiedBefore: number,
  proofs: Proofs,
): Promise<number | undefined> {
  let found = oldest;
  for (const time of times) {
    if (found === 0 || time > verifiedBefore) break;
    const row = await view.row({ ...group, time });
    // Removed meanwhile.
    if (row === undefined) continue;
    const verified = Math.floor((proofs.snapshot(row.session)?.verifiedMs ?? 0) / 1000);
    found = Math.min(found ?? verified, verified);
  }
  return found;
}
