// /nodes/{node}/tasks and /cluster/tasks: long operations of either dialect, with UPIDs of nine fields.
import { type Static, Type } from 'typebox';
import type { TaskRow } from '../../../../jobs/tasks/task-store.ts';
import { type AuthId, userOf } from '../../../../schema/auth-id.ts';
import { callerOf } from '../../../method.ts';
import { requireTask } from '../../../task-rights.ts';
import { findUpid, guestStartOf, guestUpidOf } from '../../guest-upid.ts';
import { defineGuestMethod, type GuestCall, may, requireNode } from '../../method.ts';
import { Count, Flag, GuestUpid, given, Node, Nothing, Vmid } from '../parameters.ts';

const PATH = '/nodes/{node}/tasks';
const OfTask = { node: Node, upid: GuestUpid };
const MAX_LINES = 10_000;
const RECENT = 100;
const OF_TASK = {
  upid: Type.String(),
  node: Type.String(),
  pid: Type.Integer(),
  pstart: Type.Integer(),
  starttime: Type.Integer(),
  type: Type.String(),
  id: Type.String(),
  user: Type.String(),
  tokenid: Type.Optional(Type.String()),
};
const Row = Type.Object({
  ...OF_TASK,
  endtime: Type.Optional(Type.Integer()),
  status: Type.Optional(Type.String()),
});
const OUTCOMES = ['ok', 'warning', 'error', 'unknown'] as const;

export const TASK_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: PATH,
    description: 'Tasks, newest first; without Sys.Audit on the node those of the caller and its tokens.',
    access: { auth: true },
    parameters: Type.Object({
      node: Node,
      start: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 }),
      limit: Type.Integer({
        minimum: 0,
        maximum: MAX_LINES,
        default: 50,
        description: '0 for as many as one answer takes.',
      }),
      source: Type.Enum(['archive', 'active', 'all'], { default: 'archive', description: 'Ended, running, or both.' }),
      errors: Type.Boolean({ default: false, description: 'Only tasks that did not end well.' }),
      vmid: Type.Optional(Vmid),
      typefilter: Type.Optional(Type.String({ maxLength: 64 })),
      userfilter: Type.Optional(Type.String({ maxLength: 128 })),
      since: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
      until: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
      statusfilter: Type.Optional(Type.Array(Type.Enum([...OUTCOMES]), { maxItems: 16 })),
    }),
    returns: Type.Array(Row),
    handler: (call, { node, source, vmid, ...filter }) => {
      requireNode(call, node);
      const { rows, total } = call.services.tasks.list({
        ...filter,
        ...ownTasks(call),
        ...given({ store: vmid === undefined ? undefined : String(vmid) }),
        running: source === 'active',
        ended: source === 'archive',
      });
      call.attach('total', total);
      return rows.map(rowOf);
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/cluster/tasks',
    description: 'The last tasks, running ones first.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(Type.Object({ ...Row.properties, saved: Flag })),
    handler: (call) => {
      const { rows } = call.services.tasks.list({ limit: RECENT, ...ownTasks(call) });
      return rows.map((row) => ({ ...rowOf(row), saved: row.endtime === null ? 0 : 1 }));
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/{upid}/status`,
    description: 'Whether a task runs, and how it ended.',
    access: { auth: true },
    parameters: Type.Object(OfTask),
    returns: Type.Object({
      ...OF_TASK,
      status: Type.Enum(['running', 'stopped']),
      exitstatus: Type.Optional(Type.String()),
    }),
    handler: (call, { node, upid }) => {
      const task = call.services.tasks.status(findTask(call, node, upid));
      return {
        ...shownTask(task),
        status: task.status,
        ...given({ exitstatus: task.exitstatus }),
      };
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/{upid}/log`,
    description: 'Lines of the log of a task; the first is number 1, and is where `start` is 0.',
    access: { auth: true },
    parameters: Type.Object({
      ...OfTask,
      start: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 }),
      limit: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 50 }),
    }),
    returns: Type.Array(Type.Object({ n: Count, t: Type.String() })),
    handler: async (call, { node, upid, start, limit }) => {
      const found = findTask(call, node, upid);
      const most = limit === 0 ? MAX_LINES : Math.min(limit, MAX_LINES);
      const { lines, total } = await call.services.tasks.log(found, start + 1, most);
      call.attach('total', Math.max(total, 1));
      if (total === 0) return start === 0 ? [{ n: 1, t: 'no content' }] : [];
      return lines.map(({ n, t }) => ({ n, t: withoutTime(t) }));
    },
  }),
  defineGuestMethod({
    method: 'DELETE',
    path: `${PATH}/{upid}`,
    description: 'Asks a task to stop; those of others with Sys.Modify on the node.',
    access: { auth: true },
    parameters: Type.Object(OfTask),
    returns: Nothing,
    handler: (call, { node, upid }) => {
      const found = findTask(call, node, upid);
      const { tasks, node: here } = call.services;
      requireTask(call, tasks.status(found).user, { path: `/nodes/${here.name}`, anyOf: ['Sys.Modify'] });
      tasks.abort(found, `aborted by ${callerOf(call)}`);
      return null;
    },
  }),
];

/** What narrows a list to what the caller may see. */
function ownTasks(call: GuestCall): { ownedBy?: string } {
  return may(call, `/nodes/${call.services.node.name}`, 'Sys.Audit') ? {} : { ownedBy: callerOf(call) };
}

/** Its UPID of ten fields. @throws ParameterError for one that is not there, ApiError 403 for one of somebody else. */
function findTask(call: GuestCall, node: string, guestUpid: string): string {
  requireNode(call, node);
  const { tasks, node: here } = call.services;
  const upid = findUpid(tasks, guestUpid);
  requireTask(call, tasks.status(upid).user, { path: `/nodes/${here.name}`, anyOf: ['Sys.Audit'] });
  return upid;
}

function shownTask({
  upid,
  node,
  pid,
  starttime,
  type,
  id,
  user,
}: Omit<TaskRow, 'endtime' | 'status' | 'logNote' | 'data'>) {
  const [, tokenid] = user.split('!');
  return {
    upid: guestUpidOf(upid),
    node,
    pid,
    pstart: guestStartOf(upid),
    starttime,
    type,
    id: id ?? '',
    user: userOf(user as AuthId),
    ...given({ tokenid }),
  };
}

function rowOf(row: TaskRow): Static<typeof Row> {
  const { endtime, status } = row;
  return {
    ...shownTask(row),
    ...(endtime === null ? { status: 'RUNNING' } : { endtime, status: status ?? 'unknown' }),
  };
}

/** The time that our logs have before each line; clients look at the text alone. */
function withoutTime(line: string): string {
  return line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d: /, '');
}
