// Jobs that have the agent of a host back up its directories and disks. The order is a task of its own; the job's task waits for it, and says
// which one it is.
import { Type } from 'typebox';
import type { JobKind } from '../../jobs/schedule/job.ts';
import type { TaskEnd } from '../../jobs/tasks/task.ts';
import { BACKUP_FIELDS, type BackupOrder } from '../../transport/control/orders.ts';
import { HoldfastError } from '../../util/errors.ts';
import { awaitNode, type IsOnline } from './await-node.ts';
import { checker, storeClaim } from './store-options.ts';

const NODE = '^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$';
export const NodeName = Type.String({ pattern: NODE, maxLength: 63 });
const { time: _label, ...fields } = BACKUP_FIELDS;
const Options = Type.Object({ node: NodeName, ...fields }, { additionalProperties: false });

export interface BackupKindParts {
  readonly isOnline: IsOnline;
  /** Gives an order as a task. @throws `not-found`, `node-offline`, `too-many`. */
  readonly order: (node: string, order: BackupOrder, authId: string) => { readonly upid: string };
  /** The end of a task that was started. */
  readonly endOf: (upid: string) => Promise<TaskEnd>;
  readonly abort: (upid: string, reason: string) => unknown;
}

export function backupKind({ isOnline, order, endOf, abort }: BackupKindParts): JobKind {
  return {
    name: 'backup',
    stage: 'backup',
    taskType: 'backupjob',
    check: checker(Options),
    claims: (options) => [...storeClaim(options), `node:${String(options.node)}`],
    workerId: ({ id, options }) => `${String(options.store)}:${String(options.node)}:${id}`,
    run: async ({ job, authId }, work) => {
      const { node, ...rest } = job.options as { node: string } & Omit<BackupOrder, 'kind'>;
      await awaitNode(node, isOnline, work);
      const { upid } = order(node, { ...rest, kind: 'backup' }, authId);
      work.log(`node ${node} backs up, in task ${upid}`);
      const stop = (): void => void abort(upid, (work.signal.reason as Error).message);
      work.signal.addEventListener('abort', stop, { once: true });
      if (work.signal.aborted) stop();
      try {
        const { outcome, status, error, data } = await endOf(upid);
        work.signal.throwIfAborted();
        if (outcome === 'warning') work.warn(`the backup at node ${node} ended with ${status}; its task has the log`);
        else if (outcome !== 'ok') throw error ?? new HoldfastError('task-failed', status);
        return { upid, ...(data?.result !== undefined && { result: data.result }) };
      } finally {
        work.signal.removeEventListener('abort', stop);
      }
    },
  };
}
