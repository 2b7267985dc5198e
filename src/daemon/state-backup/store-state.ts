// Stores gathered state as a snapshot of an open datastore, the ordinary way, and lets old ones of the group go.
import { Readable } from 'node:stream';
import { type ArchiveSpec, runBackup } from '../../agent/backup/run-backup.ts';
import { planPrune } from '../../datastore/prune/plan.ts';
import { removalsOf, removePruned } from '../../datastore/prune/prune-operation.ts';
import type { TaskWork } from '../../jobs/tasks/task.ts';
import { ROOT_USER } from '../../schema/auth-id.ts';
import { type GroupName, parseNamespace } from '../../schema/names.ts';
import type { OpenDatastore } from '../open-store.ts';

const ROOT_NAMESPACE = parseNamespace('');
/** Snapshots that stay. */
export const KEPT_STATE_SNAPSHOTS = 30;
const COMPRESSION_LEVEL = 3;

/** Returns the label of the snapshot, in Unix seconds. @throws what a backup throws. */
export async function storeState(
  { store, pool }: OpenDatastore,
  group: GroupName,
  archives: readonly ArchiveSpec[],
  task: TaskWork,
): Promise<number> {
  const { committed } = await runBackup(
    {
      group,
      archives,
      changeMap: undefined,
      time: undefined,
      averageBytes: store.config.chunk.averageBytes,
      key: undefined,
      stdin: Readable.from([]),
      signal: task.signal,
      onProgress: task.onProgress,
      warn: task.warn,
    },
    pool,
    async () =>
      await store.openSession({
        ns: ROOT_NAMESPACE,
        group,
        owner: ROOT_USER,
        compressionLevel: COMPRESSION_LEVEL,
      }),
  );
  for (const warning of committed.warnings) task.warn(warning);
  return committed.name.time;
}

/** @throws what removing a snapshot throws. */
export async function pruneState({ store }: OpenDatastore, group: GroupName, task: TaskWork): Promise<void> {
  const counts = { 'keep-last': KEPT_STATE_SNAPSHOTS };
  const { clockMs } = store;
  const request = { ns: ROOT_NAMESPACE, groups: [group], counts, clockMs };
  const plan = await planPrune(store.groups, request, task.signal);
  for (const warning of plan.warnings) task.warn(warning);
  const work = { signal: task.signal, onProgress: task.onProgress, warn: task.warn };
  for (const removal of removalsOf(ROOT_NAMESPACE, plan)) {
    const { removed } = await removePruned.run(store, removal, work);
    if (removed > 0) task.log(`${removed} old snapshots were forgotten`);
  }
}
