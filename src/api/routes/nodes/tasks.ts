// /nodes/{node}/tasks: long operations, their ends and their logs.
import { Readable } from 'node:stream';
import { type Static, Type } from 'typebox';
import type { TaskRow } from '../../../jobs/tasks/task-store.ts';
import type { TaskLogPage, TaskStatus } from '../../../jobs/tasks/tasks.ts';
import { Count } from '../../../schema/answer-parts.ts';
import { type AuthId, userOf } from '../../../schema/auth-id.ts';
import { fromText } from '../../../util/byte-string.ts';
import { ByteAnswer } from '../../downloads/byte-answer.ts';
import { type Call, callerOf, defineMethod } from '../../method.ts';
import type { TaskCalls } from '../../services.ts';
import type { KeptResult } from '../../start-task.ts';
import { requireTask } from '../../task-rights.ts';
import { NodeName, Nothing, StoreName, UpidText } from '../parameters.ts';
import { requireThisNode } from './node.ts';

const PATH = '/nodes/{node}/tasks';
const ALL_TASKS = { path: '/system/tasks', anyOf: ['Sys.Audit'] } as const;
const OfTask = { node: NodeName, upid: UpidText };
const MAX_LINES = 10_000;
const Row = Type.Object({
  upid: Type.String(),
  node: Type.String(),
  pid: Type.Integer(),
  pstart: Type.Integer(),
  starttime: Type.Integer(),
  worker_type: Type.String(),
  worker_id: Type.Union([Type.String(), Type.Null()]),
  user: Type.String(),
  endtime: Type.Optional(Type.Integer()),
  status: Type.Optional(Type.String()),
});
const Status = Type.Object({
  upid: Type.String(),
  node: Type.String(),
  pid: Type.Integer(),
  pstart: Type.Integer(),
  starttime: Type.Integer(),
  type: Type.String(),
  id: Type.Union([Type.String(), Type.Null()]),
  user: Type.String(),
  tokenid: Type.Optional(Type.String()),
  status: Type.Enum(['running', 'stopped']),
  exitstatus: Type.Optional(Type.String()),
  endtime: Type.Optional(Type.Integer()),
  progress: Type.Optional(Type.Object({ what: Type.String(), bytesDone: Count, bytesTotal: Type.Optional(Count) })),
});

export const TASK_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description:
      'Tasks, running ones first, then the newest; without Sys.Audit on /system/tasks those of the caller and its tokens.',
    access: { auth: true },
    parameters: Type.Object({
      node: NodeName,
      start: Type.Integer({ minimum: 0, default: 0 }),
      limit: Type.Integer({ minimum: 0, default: 50, description: '0 for as many as one answer takes.' }),
      store: Type.Optional(StoreName),
      running: Type.Boolean({ default: false }),
      errors: Type.Boolean({ default: false, description: 'Only tasks that did not end well.' }),
      userfilter: Type.Optional(Type.String({ maxLength: 128 })),
      typefilter: Type.Optional(Type.String({ maxLength: 64 })),
      since: Type.Optional(Type.Integer()),
      until: Type.Optional(Type.Integer()),
      statusfilter: Type.Optional(Type.Array(Type.Enum(['ok', 'warning', 'error', 'unknown']), { maxItems: 16 })),
    }),
    returns: Type.Array(Row),
    handler: (call, { node, ...filter }) => {
      requireThisNode(call, node);
      const { permissions, tasks } = call.services;
      const caller = callerOf(call);
      const seesAll = permissions.has(caller, ALL_TASKS.path, 'Sys.Audit');
      const { rows, total } = tasks.list({ ...filter, ...(seesAll ? {} : { ownedBy: caller }) });
      call.attach('total', total);
      return rows.map(rowOf);
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{upid}/status`,
    description: 'Whether a task runs, and how it ended.',
    access: { auth: true },
    parameters: Type.Object(OfTask),
    returns: Status,
    handler: (call, { node, upid }) => statusOf(findTask(call, node, upid)),
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{upid}/log`,
    description:
      'Lines of the log of a task, from line `start`; with `test-status` also whether it runs. With `download` all that there are, as text.',
    access: { auth: true },
    parameters: Type.Object({
      ...OfTask,
      start: Type.Integer({ minimum: 0, default: 0 }),
      limit: Type.Integer({ minimum: 0, maximum: MAX_LINES, default: 50 }),
      'test-status': Type.Boolean({ default: false }),
      download: Type.Boolean({ default: false, description: '`start` and `limit` are of no account then.' }),
    }),
    returns: Type.Array(Type.Object({ n: Count, t: Type.String() })),
    media: ['text/plain'],
    handler: async (call, { node, upid, start, limit, 'test-status': testStatus, download }) => {
      findTask(call, node, upid);
      if (download) return await logAnswer(call.services.tasks, upid);
      const { lines, total, active } = await call.services.tasks.log(upid, start, limit === 0 ? MAX_LINES : limit);
      call.attach('success', 1);
      call.attach('total', total);
      if (testStatus) call.attach('active', active);
      return lines.map(({ n, t }) => ({ n, t }));
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{upid}/result`,
    description: 'What a task came to, and what it warned of; null while it runs, or when it failed.',
    access: { auth: true },
    parameters: Type.Object(OfTask),
    returns: Type.Object({ result: Type.Unknown(), warnings: Type.Array(Type.String()) }),
    handler: async (call, { node, upid }) => {
      findTask(call, node, upid);
      const end = call.services.tasks.get(upid) === undefined ? {} : await call.services.tasks.data(upid);
      const { result = null, warnings = [], leftOut = 0 } = end as Partial<KeptResult> & { leftOut?: number };
      const cut = `${leftOut} entries are left out of this result, which is longer than a task keeps; look at its log`;
      return { result, warnings: [...warnings, ...(leftOut > 0 ? [cut] : [])] };
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${PATH}/{upid}`,
    description: 'Asks a task to stop; those of others with Sys.Modify on /system/tasks.',
    access: { auth: true },
    parameters: Type.Object(OfTask),
    returns: Nothing,
    handler: (call, { node, upid }) => {
      const { user } = findTask(call, node, upid);
      requireTask(call, user, { ...ALL_TASKS, anyOf: ['Sys.Modify'] });
      const { tasks } = call.services;
      if (tasks.get(upid) !== undefined) tasks.abort(upid, `aborted by ${callerOf(call)}`);
      return null;
    },
  }),
];

/** The log as far as it goes now. */
async function logAnswer(tasks: TaskCalls, upid: string): Promise<ByteAnswer> {
  // Asked for before the answer begins, for a task that nobody knows.
  const first = await tasks.log(upid, 1, MAX_LINES);
  const stream = Readable.from(logText(tasks, upid, first), { objectMode: false });
  return new ByteAnswer(stream, { type: 'text/plain;charset=UTF-8', fileName: fromText(`${upid}.log`) });
}

/** A page at a time. */
async function* logText(tasks: TaskCalls, upid: string, first: TaskLogPage): AsyncGenerator<Buffer> {
  for (let page = first; page.lines.length > 0; ) {
    yield Buffer.from(page.lines.map(({ t }) => `${t}\n`).join(''));
    page = await tasks.log(upid, (page.lines.at(-1)?.n ?? 0) + 1, MAX_LINES);
  }
}

/** @throws HoldfastError `bad-name` for what is no UPID, ApiError 403 for a task of somebody else. */
function findTask(call: Call, node: string, upid: string): TaskStatus {
  requireThisNode(call, node);
  const status = call.services.tasks.status(upid);
  requireTask(call, status.user, ALL_TASKS);
  return status;
}

function rowOf({ upid, pid, pstart, starttime, type, id, user, endtime, status }: TaskRow): Static<typeof Row> {
  return {
    upid,
    // As clients know it; the UPID has the name.
    node: 'localhost',
    pid,
    pstart,
    starttime,
    worker_type: type,
    worker_id: id,
    user,
    ...(endtime === null ? {} : { endtime }),
    ...(status === null ? {} : { status }),
  };
}

function statusOf(task: TaskStatus): Static<typeof Status> {
  const { upid, node, pid, pstart, starttime, type, id, status, exitstatus, endtime, progress } = task;
  const [, tokenid] = task.user.split('!');
  return {
    upid,
    node,
    pid,
    pstart,
    starttime,
    type,
    id,
    user: userOf(task.user as AuthId),
    ...(tokenid === undefined ? {} : { tokenid }),
    status,
    ...(exitstatus === undefined ? {} : { exitstatus }),
    ...(endtime === undefined ? {} : { endtime }),
    ...(progress === undefined ? {} : { progress: progressOf(progress) }),
  };
}

function progressOf({ what, bytesDone, bytesTotal }: NonNullable<TaskStatus['progress']>) {
  return { what, bytesDone, ...(bytesTotal === undefined ? {} : { bytesTotal }) };
}
