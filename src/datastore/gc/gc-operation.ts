// A whole garbage collection as an operation: mark, plan, sweep, and an audit when asked for.

import { Type } from 'typebox';
import { Count, CountOrNull } from '../../schema/answer-parts.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Operation } from '../control/operation.ts';
import type { HeldDatastore } from '../held-datastore.ts';
import type { MarkResult, SweepResult } from './collect-garbage.ts';
import type { Plan } from './plan.ts';

export interface GcRequest {
  /** Says what would be freed, and frees nothing. */
  readonly dryRun: boolean;
  /** Walks everything once more afterwards. */
  readonly audit: boolean;
  /** Bytes a second that rewriting may read; null for as fast as it goes. */
  readonly rateLimitBytes: number | null;
}

export interface GcReport extends SweepResult {
  readonly dryRun: boolean;
  readonly roots: number;
  readonly metadataRead: number;
  readonly objectsLive: number;
  readonly bytesLive: number;
  readonly bytesDead: number;
  /** Dead bytes that stay, in packs that are not worth copying yet. */
  readonly bytesPending: number;
  /** Of all snapshots as of the last count of the space; null when there was none. */
  readonly bytesLogical: number | null;
  /** Data objects that snapshots need and that cannot be read. */
  readonly objectsLost: number;
  readonly auditedObjects: number | null;
}

const ReportAnswer = Type.Object({
  dryRun: Type.Boolean(),
  roots: Count,
  metadataRead: Count,
  objectsLive: Count,
  bytesLive: Count,
  bytesDead: Count,
  bytesPending: Count,
  bytesLogical: CountOrNull,
  objectsLost: Count,
  auditedObjects: CountOrNull,
  packsDropped: Count,
  packsRewritten: Count,
  packsKept: Count,
  bytesWritten: Count,
  // What was written may be more than what went.
  bytesFreed: Type.Integer(),
});

export const collectGarbage: Operation<GcRequest, GcReport> = {
  name: 'gc',
  answer: ReportAnswer,
  isLong: true,
  run: async (store, { dryRun, audit, rateLimitBytes }, { signal, onProgress, warn }) => {
    const report = await store.collectGarbage(
      {
        signal,
        rateLimitBytes: rateLimitBytes ?? undefined,
        onProgress: (bytesDone, bytesTotal) => onProgress('gc', bytesDone, bytesTotal),
      },
      async (gc) => {
        const marked = await gc.mark();
        const plan = gc.plan(marked);
        const swept = dryRun ? planned(plan) : await gc.sweep(plan);
        const audited = audit ? await gc.audit() : undefined;
        return {
          dryRun,
          ...figures(marked, plan),
          ...swept,
          objectsLost: audited?.unreadable.length ?? marked.lostData.length,
          auditedObjects: audited?.metadataRead ?? null,
        };
      },
    );
    const isUnchanged = report.packsDropped + report.packsRewritten === 0 && (await store.isAccountingCurrent());
    if (!dryRun && !isUnchanged) await countAgain(store, signal, warn);
    const counted = (await store.accounting())?.snapshots;
    return { ...report, bytesLogical: counted?.reduce((sum, each) => sum + each.bytesLogical, 0) ?? null };
  },
};

/** What went has changed who holds what. A count that fails takes nothing back of the collection. */
async function countAgain(store: HeldDatastore, signal: AbortSignal, warn: (message: string) => void): Promise<void> {
  try {
    await store.account(signal, warn);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    warn(`the space was not counted again: ${error.message}`);
  }
}

function figures(
  marked: MarkResult,
  plan: Plan,
): Pick<GcReport, 'roots' | 'metadataRead' | 'objectsLive' | 'bytesLive' | 'bytesDead' | 'bytesPending'> {
  const sum = (of: (pack: MarkResult['figures'][number]) => number): number =>
    marked.figures.reduce((total, pack) => total + of(pack), 0);
  return {
    roots: marked.roots.length,
    metadataRead: marked.metadataRead,
    objectsLive: sum((pack) => pack.liveRecords),
    bytesLive: sum((pack) => pack.liveBytes),
    bytesDead: sum((pack) => pack.deadBytes),
    bytesPending: plan.pendingBytes,
  };
}

/** What a sweep would come to. */
function planned(plan: Plan): SweepResult {
  const rewritten = plan.rewrite.reduce((sum, job) => sum + job.liveBytes, 0);
  const files = [...plan.drop, ...plan.rewrite].reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  return {
    packsDropped: plan.drop.length,
    packsRewritten: plan.rewrite.reduce((sum, job) => sum + job.packs.length, 0),
    packsKept: 0,
    bytesWritten: rewritten,
    bytesFreed: files - rewritten,
  };
}
