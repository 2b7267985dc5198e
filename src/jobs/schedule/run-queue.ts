// Runs that wait for their turn, first come first served: for a place among those that work on the same node or datastore, and for what comes
// before them in a night there.
import { STAGES, type Stage } from './job.ts';

export interface Waiting {
  readonly claims: readonly string[];
  readonly stage: Stage;
  readonly queuedMs: number;
  /** Its turn has come. */
  begin(): void;
}

export interface QueueLimits {
  /** Runs at once, of all jobs, */
  readonly all: number;
  /** on one node, */
  readonly node: number;
  /** and on one datastore. */
  readonly datastore: number;
}

export const USUAL_LIMITS: QueueLimits = { all: 64, node: 2, datastore: 4 };

const EVERYTHING = 'server';

export class RunQueue {
  readonly #limits: QueueLimits;
  /** The longest that a run waits for what comes before it in a night. */
  readonly #stageWaitMs: number;
  readonly #waiting = new Set<Waiting>();
  readonly #working = new Set<Waiting>();

  constructor(limits: QueueLimits, stageWaitMs: number) {
    this.#limits = limits;
    this.#stageWaitMs = stageWaitMs;
  }

  get length(): number {
    return this.#waiting.size;
  }

  add(run: Waiting): void {
    this.#waiting.add(run);
  }

  /** It waits no more, or works no more. */
  remove(run: Waiting): void {
    this.#waiting.delete(run);
    this.#working.delete(run);
  }

  /** Those that have waited longer than so. */
  waitingSince(ms: number): Waiting[] {
    return [...this.#waiting].filter(({ queuedMs }) => queuedMs <= ms);
  }

  /** Begins what can begin, those that came first before others. Who waits for one thing holds no place on another: a node that hangs stops no datastore. */
  pump(nowMs: number): void {
    const taken = new Map<string, number>();
    for (const { claims } of this.#working) for (const claim of withAll(claims)) count(taken, claim);
    const first = this.#firstStages();
    const begun: Waiting[] = [];
    for (const run of this.#waiting) {
      if (this.#waitsForStage(run, first, nowMs)) continue;
      const claims = withAll(run.claims);
      if (claims.some((claim) => (taken.get(claim) ?? 0) >= this.#limitOf(claim))) continue;
      begun.push(run);
      for (const claim of claims) count(taken, claim);
    }
    for (const run of begun) {
      this.#waiting.delete(run);
      this.#working.add(run);
    }
    // Only now: what begins may end at once, and ask to pump again.
    for (const run of begun) run.begin();
  }

  #waitsForStage(run: Waiting, first: ReadonlyMap<string, number>, nowMs: number): boolean {
    if (nowMs - run.queuedMs >= this.#stageWaitMs) return false;
    const own = STAGES.indexOf(run.stage);
    return run.stage !== 'other' && datastores(run).some((claim) => (first.get(claim) ?? own) < own);
  }

  /** The earliest stage of what waits or works on each datastore. */
  #firstStages(): Map<string, number> {
    const first = new Map<string, number>();
    for (const run of [...this.#waiting, ...this.#working]) {
      const stage = STAGES.indexOf(run.stage);
      for (const claim of datastores(run)) first.set(claim, Math.min(stage, first.get(claim) ?? stage));
    }
    return first;
  }

  #limitOf(claim: string): number {
    if (claim === EVERYTHING) return this.#limits.all;
    return claim.startsWith('node:') ? this.#limits.node : this.#limits.datastore;
  }
}

function withAll(claims: readonly string[]): readonly string[] {
  return [EVERYTHING, ...claims];
}

function datastores({ claims }: Waiting): string[] {
  return claims.filter((claim) => claim.startsWith('datastore:'));
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
