// What verifications said of snapshots, as lists show it, and the task that said it. The file is read again when it changed; while a verification runs
// it changes all the time, and it can be long, so it is then read for a small part of the time.
import { statSync } from 'node:fs';
import type { HeldDatastore } from '../../datastore/held-datastore.ts';
import { Proofs } from '../../datastore/verify/proofs.ts';
import type { TaskCalls } from '../services.ts';

/** After a reading the file rests for so many times as long as that took, if a verification runs. */
const REST = 20;
/** Tasks of a datastore among which the one is looked for; a verdict of an older one has none. */
const MAX_TASKS = 200;

export interface Verdict {
  readonly state: 'ok' | 'failed';
  /** Missing when no task did it, such as a command in the directory, or the task is forgotten. */
  readonly upid?: string;
}

/** The verdict on the snapshot that a session made. */
export type VerdictOf = (session: string) => Verdict | undefined;

interface Kept {
  readonly stamp: string;
  readonly readAgainMs: number;
  readonly proofs: Proofs;
}

export class Verdicts {
  readonly #kept = new WeakMap<HeldDatastore, Kept>();

  async of(name: string, store: HeldDatastore, tasks: Pick<TaskCalls, 'list'>): Promise<VerdictOf> {
    const isRunning = (): boolean =>
      tasks.list({ store: name, typefilter: 'verify', running: true, limit: 1 }).total > 0;
    const proofs = await this.#proofs(store, isRunning);
    let runs: readonly { readonly upid: string; readonly fromMs: number; readonly toMs: number }[] | undefined;
    return (session) => {
      const proof = proofs.snapshot(session);
      if (proof === undefined) return undefined;
      runs ??= tasks.list({ store: name, typefilter: 'verify', limit: MAX_TASKS }).rows.map((row) => ({
        upid: row.upid,
        fromMs: row.starttime * 1000,
        toMs: row.endtime === null ? Number.POSITIVE_INFINITY : (row.endtime + 1) * 1000,
      }));
      // Of two that ran at that time the later one: the first would have kept it from running.
      const run = runs.find(({ fromMs, toMs }) => fromMs <= proof.verifiedMs && proof.verifiedMs < toMs);
      return { state: proof.damaged ? 'failed' : 'ok', ...(run === undefined ? {} : { upid: run.upid }) };
    };
  }

  async #proofs(store: HeldDatastore, isRunning: () => boolean): Promise<Proofs> {
    const path = store.layout.verifyState;
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    const stamp = `${stat?.mtimeNs} ${stat?.size} ${stat?.ino}`;
    const kept = this.#kept.get(store);
    const startedMs = performance.now();
    const mayStay = kept !== undefined && (kept.stamp === stamp || (startedMs < kept.readAgainMs && isRunning()));
    if (mayStay) return kept.proofs;
    const proofs = await Proofs.load(path, store.config.store);
    const endedMs = performance.now();
    this.#kept.set(store, { stamp, proofs, readAgainMs: endedMs + REST * (endedMs - startedMs) });
    return proofs;
  }
}
