// What the last garbage collection of a datastore said, in the members that clients know. Tasks keep the figures.
import { type Static, Type } from 'typebox';
import type { GcReport } from '../../datastore/gc/gc-operation.ts';
import type { TaskCalls } from '../services.ts';

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
  }),
]);

/** What a task of a collection keeps. */
export interface GcFigures extends GcReport {
  /** Of all snapshots together. */
  readonly bytesLogical: number;
}

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
  const { rows } = tasks.list({ store, typefilter: GC_TASK, limit: 20 });
  const last = rows.find(({ data }) => data !== null);
  if (last === undefined) return NEVER;
  return { upid: last.upid, ...membersOf(last.data as unknown as GcFigures) };
}

export function gcRunOf(tasks: TaskCalls, store: string): Static<typeof GcRun> {
  const [last] = tasks.list({ store, typefilter: GC_TASK, limit: 20 }).rows.filter(({ endtime }) => endtime !== null);
  const run =
    last === undefined
      ? {}
      : {
          upid: last.upid,
          'last-run-state': last.status ?? 'unknown',
          'last-run-endtime': last.endtime ?? 0,
          duration: (last.endtime ?? 0) - last.starttime,
        };
  return { ...gcStatusOf(tasks, store), ...run, store };
}

function membersOf(figures: GcFigures): Omit<Static<typeof GcStatus>, 'upid'> {
  const { bytesLive, bytesDead, bytesFreed, bytesPending, objectsLive, objectsLost, roots } = figures;
  // A collection counts the objects that live, and of the others the bytes: their number is that of objects of the same size.
  const averageBytes = objectsLive === 0 ? 0 : bytesLive / objectsLive;
  const objectsIn = (bytes: number): number => (averageBytes === 0 ? 0 : Math.round(Math.max(0, bytes) / averageBytes));
  return {
    'index-file-count': roots,
    'index-data-bytes': figures.bytesLogical,
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
