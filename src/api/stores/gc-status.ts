// What the last garbage collection of a datastore said, in the members that clients know. Tasks keep the figures.
import { type Static, Type } from 'typebox';
import type { GcReport } from '../../datastore/gc/gc-operation.ts';
import type { TaskRow } from '../../jobs/tasks/task-store.ts';
import type { TaskCalls } from '../services.ts';
import type { KeptResult } from '../start-task.ts';
import type { GcPlan } from './gc-schedule.ts';

export const GC_TASK = 'garbage_collection';
const Count = Type.Integer({ minimum: 0 });

export const GcStatus = Type.Object({
  upid: Type.Optional(Type.String()),
  'index-file-count': Count,
  'index-data-bytes': Count,
  'disk-bytes': Count,
  'disk-chunks': Count,
  'removed-bytes': Count,
  'removed-chunks': Count,
  'pending-bytes': Count,
  'pending-chunks': Count,
  'removed-bad': Count,
  'still-bad': Count,
});

export const GcRun = Type.Intersect([
  GcStatus,
  Type.Object({
    store: Type.String(),
    'last-run-state': Type.Optional(Type.String()),
    'last-run-endtime': Type.Optional(Type.Integer()),
    duration: Type.Optional(Count),
    schedule: Type.Optional(Type.String({ description: 'A calendar event.' })),
    'next-run': Type.Optional(Type.Integer({ description: 'Unix seconds.' })),
  }),
]);

const NEVER: Static<typeof GcStatus> = {
  'index-file-count': 0,
  'index-data-bytes': 0,
  'disk-bytes': 0,
  'disk-chunks': 0,
  'removed-bytes': 0,
  'removed-chunks': 0,
  'pending-bytes': 0,
  'pending-chunks': 0,
  'removed-bad': 0,
  'still-bad': 0,
};

export function gcStatusOf(tasks: TaskCalls, store: string): Static<typeof GcStatus> {
  return statusFrom(collections(tasks, store));
}

export function gcRunOf(tasks: TaskCalls, store: string, plan: GcPlan): Static<typeof GcRun> {
  const { schedule, nextRun } = plan;
  const known = collections(tasks, store);
  const last = known.find(({ endtime }) => endtime !== null);
  const run =
    last === undefined
      ? {}
      : {
          upid: last.upid,
          'last-run-state': last.status ?? 'unknown',
          'last-run-endtime': last.endtime ?? 0,
          duration: (last.endtime ?? 0) - last.starttime,
        };
  const coming = {
    ...(schedule !== undefined && { schedule }),
    ...(nextRun !== undefined && { 'next-run': nextRun }),
  };
  return { ...statusFrom(known), ...run, ...coming, store };
}

/** The latest, newest first, whoever started them; what would have been done says nothing of the store. */
function collections(tasks: TaskCalls, store: string): TaskRow[] {
  const { rows } = tasks.list({ store, typefilter: GC_TASK, limit: 20 });
  return rows.filter((row) => reportOf(row)?.dryRun !== true);
}

/** Undefined of one that runs, or failed. */
function reportOf({ data }: TaskRow): GcReport | undefined {
  return (data as Partial<KeptResult<GcReport>> | null)?.result;
}

function statusFrom(rows: readonly TaskRow[]): Static<typeof GcStatus> {
  const last = rows.find((row) => reportOf(row) !== undefined);
  return last === undefined ? NEVER : { upid: last.upid, ...membersOf(reportOf(last) as GcReport) };
}

function membersOf(figures: GcReport): Omit<Static<typeof GcStatus>, 'upid'> {
  const { bytesLive, bytesDead, bytesFreed, bytesPending, objectsLive, objectsLost, roots } = figures;
  // A collection counts the objects that live, and of the others the bytes: their number is that of objects of the same size.
  const averageBytes = objectsLive === 0 ? 0 : bytesLive / objectsLive;
  const objectsIn = (bytes: number): number => (averageBytes === 0 ? 0 : Math.round(Math.max(0, bytes) / averageBytes));
  return {
    'index-file-count': roots,
    'index-data-bytes': figures.bytesLogical ?? 0,
    'disk-bytes': Math.max(0, bytesLive + bytesDead - Math.max(0, bytesFreed)),
    'disk-chunks': objectsLive,
    'removed-bytes': Math.max(0, bytesFreed),
    'removed-chunks': objectsIn(bytesFreed),
    'pending-bytes': bytesPending,
    'pending-chunks': objectsIn(bytesPending),
    'removed-bad': 0,
    'still-bad': objectsLost,
  };
}
