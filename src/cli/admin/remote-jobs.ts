// Jobs through a server's API, with the rights of the user or token of the address.
import { type Static, Type } from 'typebox';
import type { JobAmendment, JobKey, JobRun, JobView } from '../../daemon/jobs/server-jobs.ts';
import type { CommonOptions } from '../repository.ts';
import type { JobAdministration } from './job-administration.ts';
import { openLine } from './server-line.ts';

const CONFIG = '/config/jobs';
const ADMIN = '/admin/jobs';
const LIST_PATIENCE_MS = 20_000;
const time = Type.Optional(Type.Integer());
const Run = Type.Object({
  number: Type.Integer(),
  kind: Type.String(),
  id: Type.String(),
  reason: Type.Enum(['schedule', 'late', 'retry', 'resume', 'hand']),
  state: Type.Enum(['queued', 'running', 'ok', 'warning', 'error', 'skipped', 'interrupted']),
  attempt: Type.Integer(),
  by: Type.String(),
  message: Type.String(),
  upid: Type.Optional(Type.String()),
  slot: time,
  queued: time,
  started: time,
  ended: time,
});
const Row = Type.Object({
  kind: Type.String(),
  id: Type.String(),
  schedule: Type.Optional(Type.String()),
  enabled: Type.Boolean(),
  comment: Type.String(),
  options: Type.Record(Type.String(), Type.Unknown()),
  retries: Type.Integer(),
  'retry-delay': Type.Integer(),
  timeout: Type.Integer(),
  'next-run': time,
  last: Type.Optional(Run),
  active: Type.Optional(Run),
});

/** Opens no connection yet. @throws `bad-argument` for a wrong address, or without a secret. */
export async function remoteJobs(
  options: CommonOptions,
  repository: string,
  signal: AbortSignal,
): Promise<JobAdministration & { close(): Promise<void> }> {
  const { line } = await openLine(options, repository);
  const reading = { signal, patienceMs: LIST_PATIENCE_MS };
  const changing = { signal, patienceMs: 0 };
  return {
    list: async (kind) => {
      const rows = await line.call('GET', `${CONFIG}${queryOf({ kind })}`, undefined, Type.Array(Row), reading);
      return rows.map(viewOf);
    },
    create: async ({ kind, id, options: own, ...fields }) =>
      viewOf(await line.call('POST', CONFIG, { kind, id, options: own, ...bodyOf(fields) }, Row, changing)),
    amend: async (key, { set, unset, ...fields }) =>
      viewOf(
        await line.call('PUT', pathOf(CONFIG, key), { options: set, delete: unset, ...bodyOf(fields) }, Row, changing),
      ),
    remove: async (key) => void (await line.call('DELETE', pathOf(CONFIG, key), undefined, Type.Null(), changing)),
    run: async (key) => await line.call('POST', `${pathOf(ADMIN, key)}/run`, {}, Type.String(), changing),
    history: async (wish) => {
      const path = `${ADMIN}/history${queryOf({ ...wish, failed: wish.failed ? 1 : 0 })}`;
      return (await line.call('GET', path, undefined, Type.Array(Run), reading)).map(runOf);
    },
    close: async () => await line.close(),
  };
}

function pathOf(below: string, { kind, id }: JobKey): string {
  return `${below}/${encodeURIComponent(kind)}/${encodeURIComponent(id)}`;
}

function queryOf(parameters: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(parameters).flatMap(([name, value]): [string, string][] =>
    value === undefined ? [] : [[name, String(value)]],
  );
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`;
}

function bodyOf(fields: Omit<JobAmendment, 'set' | 'unset'>): Record<string, unknown> {
  const { schedule, retryDelayMs, timeoutMs, ...same } = fields;
  const body = {
    ...same,
    schedule: schedule ?? undefined,
    'retry-delay': retryDelayMs === undefined ? undefined : Math.ceil(retryDelayMs / 1000),
    timeout: timeoutMs === undefined ? undefined : Math.ceil(timeoutMs / 1000),
  };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}

function viewOf({
  'retry-delay': delay,
  timeout,
  'next-run': next,
  last,
  active,
  ...same
}: Static<typeof Row>): JobView {
  return {
    ...same,
    schedule: same.schedule ?? null,
    retryDelayMs: delay * 1000,
    timeoutMs: timeout * 1000,
    nextMs: next === undefined ? undefined : next * 1000,
    last: last && runOf(last),
    active: active && runOf(active),
  };
}

function runOf({ by, upid, slot, queued, started, ended, ...same }: Static<typeof Run>): JobRun {
  const ms = (at: number | undefined): number | null => (at === undefined ? null : at * 1000);
  const times = { slotMs: ms(slot), queuedMs: (queued ?? 0) * 1000, startMs: ms(started), endMs: ms(ended) };
  return { ...same, authId: by, upid: upid ?? null, ...times };
}
