// /nodes/{node}/tasks/{upid}/result: what an operation that was a task came to.
import { Type } from 'typebox';
import { HoldfastError } from '../../../util/errors.ts';
import { callerOf, defineMethod } from '../../method.ts';
import { owns } from '../../snapshots/owned-groups.ts';
import { NodeName, UpidText } from '../parameters.ts';

export const TASK_RESULT_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/nodes/{node}/tasks/{upid}/result',
    description: 'The result of an operation that ended well, and the warnings of it.',
    access: { auth: true },
    parameters: Type.Object({ node: NodeName, upid: UpidText }),
    returns: Type.Object({ result: Type.Unknown(), warnings: Type.Array(Type.String()) }),
    handler: (call, { upid }) => {
      const { tasks, permissions } = call.services;
      const caller = callerOf(call);
      const row = tasks.get(upid);
      const mayLook = owns(caller, row?.user) || permissions.has(caller, '/system/tasks', 'Sys.Audit');
      if (row === undefined || !mayLook) throw new HoldfastError('not-found', 'there is no such task');
      const { result = null, warnings = [] } = (row.data ?? {}) as { result?: unknown; warnings?: string[] };
      return { result, warnings };
    },
  }),
];
