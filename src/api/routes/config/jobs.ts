// /config/jobs and /admin/jobs: all jobs of the server, of every kind, as `holdfast job` has them. Jobs run as root@pam, so rights to them are
// rights to everything that a job can do.
import { type Static, type TObject, Type } from 'typebox';
import { FAILED_STATES, type JobKey, type JobOptions, type JobRun, LIMITS } from '../../../jobs/schedule/job.ts';
import type { JobView } from '../../../jobs/schedule/job-desk.ts';
import { ROOT_USER } from '../../../schema/auth-id.ts';
import { HoldfastError } from '../../../util/errors.ts';
import { ParameterError } from '../../dialect/failure.ts';
import { type Call, callerOf, defineMethod, type PrivilegeRule } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { LINE, Nothing, Schedule, UpidText } from '../parameters.ts';

const CONFIG = '/config/jobs';
const ADMIN = '/admin/jobs';
const MAY_LOOK = { onPath: (): PrivilegeRule => ({ path: '/system/jobs', anyOf: ['Sys.Audit'] }) };
const MAY_CHANGE = { onPath: (): PrivilegeRule => ({ path: '/system/jobs', anyOf: ['Sys.Modify'] }) };
const MAX_RUNS = 1000;

const Kind = Type.String({ pattern: '^[a-z][a-z0-9-]*$', maxLength: 32, description: 'backup, prune, gc and so on.' });
const Id = Type.String({
  pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*$',
  maxLength: LIMITS.idChars,
  description: 'Name of the job.',
});
const Seconds = (mostMs: number, description: string) =>
  Type.Optional(Type.Integer({ minimum: 1, maximum: mostMs / 1000, description: `Seconds. ${description}` }));
const Options = Type.Record(Type.String(), Type.Unknown(), { description: 'What only this kind has, as JSON.' });
const Fields = {
  schedule: Type.Optional(Schedule),
  enabled: Type.Optional(Type.Boolean({ description: 'It runs by its schedule; yes without it.' })),
  comment: Type.Optional(Type.String({ pattern: LINE, maxLength: LIMITS.commentChars })),
  retries: Type.Optional(Type.Integer({ minimum: 0, maximum: LIMITS.retries, description: 'Of a run that failed.' })),
  'retry-delay': Seconds(LIMITS.maxRetryDelayMs, 'Before the first of them.'),
  timeout: Seconds(LIMITS.maxTimeoutMs, 'A run that takes longer is aborted.'),
};
type Fields = Static<TObject<typeof Fields>>;

const Time = Type.Optional(Type.Integer({ description: 'Unix seconds.' }));
const Run = Type.Object({
  number: Type.Integer(),
  kind: Type.String(),
  id: Type.String(),
  reason: Type.String(),
  state: Type.String(),
  attempt: Type.Integer(),
  by: Type.String({ description: 'Whose task it is.' }),
  message: Type.String(),
  upid: Type.Optional(Type.String()),
  slot: Time,
  queued: Time,
  started: Time,
  ended: Time,
});
const Row = Type.Object({
  kind: Type.String(),
  id: Type.String(),
  schedule: Type.Optional(Type.String({ description: 'Without one the job is run by hand.' })),
  enabled: Type.Boolean(),
  comment: Type.String(),
  options: Options,
  retries: Type.Integer(),
  'retry-delay': Type.Integer({ description: 'Seconds.' }),
  timeout: Type.Integer({ description: 'Seconds.' }),
  'next-run': Time,
  last: Type.Optional(Run),
  active: Type.Optional(Run),
});

export const JOB_METHODS = [
  defineMethod({
    method: 'GET',
    path: CONFIG,
    description: 'Jobs of every kind, with their next and last runs.',
    access: MAY_LOOK,
    parameters: Type.Object({ kind: Type.Optional(Kind) }),
    returns: Type.Array(Row),
    handler: ({ services }, { kind }) => services.jobs.list(kind).map(rowOf),
  }),
  defineMethod({
    method: 'POST',
    path: CONFIG,
    description: 'Makes a job; it runs at its next slot.',
    access: MAY_CHANGE,
    parameters: Type.Object({ kind: Kind, id: Id, options: Options, ...Fields }),
    returns: Row,
    handler: (call, { kind, id, options, ...fields }) => {
      requireMaySet(call, options);
      return rowOf(call.services.jobs.create(actorOf(call), { kind, id, options, ...changesOf(fields) }));
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${CONFIG}/{kind}/{id}`,
    description: 'One job.',
    access: MAY_LOOK,
    parameters: Type.Object({ kind: Kind, id: Id }),
    returns: Row,
    handler: ({ services }, key) => rowOf(services.jobs.get(key)),
  }),
  defineMethod({
    method: 'PUT',
    path: `${CONFIG}/{kind}/{id}`,
    description:
      'Changes a job; what is not named stays, also of its options. A run that is under way goes on as it was.',
    access: MAY_CHANGE,
    parameters: Type.Object({
      kind: Kind,
      id: Id,
      options: Type.Optional(Options),
      ...Fields,
      delete: Type.Optional(
        Type.Array(Type.String({ pattern: '^[a-z][a-z-]*$', maxLength: 64 }), {
          maxItems: 64,
          description: 'Options to take away, or schedule.',
        }),
      ),
    }),
    returns: Row,
    handler: (call, { kind, id, options: set = {}, delete: unset = [], ...fields }) => {
      const { jobs } = call.services;
      requireMaySet(call, jobs.get({ kind, id }).options);
      requireMaySet(call, set);
      return rowOf(jobs.amend(actorOf(call), { kind, id }, { ...changesOf(fields), set, unset }));
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${CONFIG}/{kind}/{id}`,
    description: 'Removes a job; a run that is under way goes on, and its history stays.',
    access: MAY_CHANGE,
    parameters: Type.Object({ kind: Kind, id: Id }),
    returns: Nothing,
    handler: (call, key) => {
      call.services.jobs.remove(actorOf(call), key);
      return null;
    },
  }),
  defineMethod({
    method: 'POST',
    path: `${ADMIN}/{kind}/{id}/run`,
    description: 'Runs a job now, as a task of the caller; it waits for its turn like every run.',
    access: MAY_CHANGE,
    parameters: Type.Object({ kind: Kind, id: Id }),
    returns: UpidText,
    handler: (call, key: JobKey) => {
      const upid = call.services.jobs.run(key, callerOf(call));
      if (upid === undefined) throw new HoldfastError('not-allowed', 'this process runs no jobs');
      return upid;
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${ADMIN}/history`,
    description: 'Runs of jobs, the newest first, also of jobs that are gone.',
    access: MAY_LOOK,
    parameters: Type.Object({
      kind: Type.Optional(Kind),
      id: Type.Optional(Id),
      failed: Type.Boolean({ default: false, description: 'Only those that did not end well.' }),
      limit: Type.Integer({ minimum: 1, maximum: MAX_RUNS, default: 50 }),
    }),
    returns: Type.Array(Run),
    handler: (call, { kind, id, failed, limit }) => {
      const states = failed ? FAILED_STATES : undefined;
      const { rows, total } = call.services.jobs.history({ kind, id, limit, states });
      call.attach('total', total);
      return rows.map(runOf);
    },
  }),
];

/** A script runs as root of a host. @throws ParameterError. */
function requireMaySet(call: Call, { script }: JobOptions): void {
  if (script !== undefined && callerOf(call) !== ROOT_USER)
    throw new ParameterError([['options', `a job with a script is ${ROOT_USER}'s: nobody else sets or changes it`]]);
}

function changesOf({ 'retry-delay': delay, timeout, ...same }: Fields) {
  return {
    ...same,
    ...(delay !== undefined && { retryDelayMs: delay * 1000 }),
    ...(timeout !== undefined && { timeoutMs: timeout * 1000 }),
  };
}

function rowOf(job: JobView): Static<typeof Row> {
  const { kind, id, schedule, enabled, comment, options, retries, retryDelayMs, timeoutMs, nextMs, last, active } = job;
  return {
    ...{ kind, id, enabled, comment, options, retries },
    ...(schedule !== null && { schedule }),
    'retry-delay': Math.ceil(retryDelayMs / 1000),
    timeout: Math.ceil(timeoutMs / 1000),
    ...(nextMs !== undefined && { 'next-run': seconds(nextMs) }),
    ...(last !== undefined && { last: runOf(last) }),
    ...(active !== undefined && { active: runOf(active) }),
  };
}

function runOf({
  number,
  kind,
  id,
  reason,
  state,
  attempt,
  authId,
  message,
  upid,
  ...times
}: JobRun): Static<typeof Run> {
  const { slotMs, queuedMs, startMs, endMs } = times;
  const known = Object.entries({ slot: slotMs, queued: queuedMs, started: startMs, ended: endMs }).flatMap(
    ([name, ms]) => (ms === null ? [] : [[name, seconds(ms)]]),
  );
  return {
    ...{ number, kind, id, reason, state, attempt, by: authId, message },
    ...(upid !== null && { upid }),
    ...(Object.fromEntries(known) as Pick<Static<typeof Run>, 'slot' | 'queued' | 'started' | 'ended'>),
  };
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}
