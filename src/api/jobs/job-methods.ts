// The methods of jobs of one kind on datastores: what is set up (/config/KIND), and what became of it (/admin/KIND). Whose datastore and namespace a job is about, it
// says itself, so that rights are looked at when it is known; a job that is not there is refused as one of all datastores.
import { type Static, type TProperties, Type } from 'typebox';
import { digestOf, requireDigest } from '../../auth/config-digest.ts';
import type { Privilege } from '../../auth/privileges.ts';
import type { JobView } from '../../jobs/schedule/job-desk.ts';
import { MAX_NAMESPACE_DEPTH } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { denied } from '../check-access.ts';
import { ApiError, ParameterError } from '../dialect/failure.ts';
import { type AnyMethod, type Call, callerOf, defineMethod, type PrivilegeRule } from '../method.ts';
import { actorOf } from '../routes/actor.ts';
import { Comment, Digest, NamespaceText, Nothing, Schedule, StoreName, UpidText } from '../routes/parameters.ts';
import { aclPath } from '../snapshots/owned-groups.ts';

const JobId = Type.String({
  pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*$',
  minLength: 3,
  maxLength: 32,
  description: 'Name of the job.',
});
const Where = { store: StoreName, ns: Type.Optional(NamespaceText) };
/** Without it namespaces below are looked at too, however deep. */
const Depth = Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_NAMESPACE_DEPTH }));

/** Jobs of one kind. */
export interface JobMethodsKind {
  /** As the scheduler calls it, and in addresses. */
  readonly kind: string;
  /** In sentences: `no such WORD 'ID'`. */
  readonly word: string;
  /** Of the job, besides the datastore and its namespaces; each optional. */
  readonly options: TProperties;
  /** Options that are set up on the server's machine only: shown here, and kept by changes. */
  readonly shownOptions?: TProperties;
  /** `schedule` may be missing: then only a hand starts the job. */
  readonly isByHand: boolean;
  /** Who may look, and who may change and run. */
  readonly looks: readonly Privilege[];
  readonly changes: Privilege;
}

/** The fields of a call that are no options of the kind. */
interface Given {
  readonly id: string;
  readonly store?: string;
  readonly ns?: string;
  readonly schedule?: string;
  readonly comment?: string;
  readonly disable?: boolean;
}

export function jobMethods(about: JobMethodsKind): readonly AnyMethod[] {
  const { kind, word, options, shownOptions, isByHand, looks, changes } = about;
  const shown = { id: Type.String(), store: Type.String(), ns: Type.Optional(Type.String()) };
  const Row = Type.Object({
    ...shown,
    'max-depth': Depth,
    ...options,
    ...shownOptions,
    schedule: Type.Optional(Type.String()),
    comment: Type.Optional(Type.String()),
    disable: Type.Optional(Type.Boolean()),
  });
  const StatusRow = Type.Object({
    ...Row.properties,
    'next-run': Type.Optional(Type.Integer({ description: 'Unix seconds.' })),
    'last-run-endtime': Type.Optional(Type.Integer({ description: 'Unix seconds.' })),
    'last-run-state': Type.Optional(Type.String()),
    'last-run-upid': Type.Optional(Type.String()),
  });
  const fields = {
    comment: Type.Optional(Comment),
    disable: Type.Optional(Type.Boolean()),
    'max-depth': Depth,
    ...options,
  };
  const deletable = ['ns', ...Object.keys(fields), ...(isByHand ? ['schedule'] : [])];
  const OnlyId = Type.Object({ id: JobId });

  const rule = (anyOf: readonly Privilege[], where?: Place) => ({
    path: where === undefined ? '/datastore' : aclPath(where),
    anyOf,
  });
  const may = (call: Call, { path, anyOf }: PrivilegeRule): boolean =>
    anyOf.some((privilege) => call.services.permissions.has(callerOf(call), path, privilege));
  /** @throws ApiError 403 in the same words whether it is there or not, 400. */
  const find = (call: Call, id: string, anyOf: readonly Privilege[]): JobView => {
    const found = call.services.jobs.find({ kind, id });
    if (!may(call, rule(anyOf, found && whereOf(found)))) throw denied(callerOf(call), rule(anyOf), true);
    if (found === undefined) throw new ApiError(400, 'not-found', `no such ${word} '${id}'`);
    return found;
  };
  const digest = (call: Call): string => digestOf(call.services.jobs.list(kind).map(rowOf));
  /** Those that the caller may look at, beside the digest of all. */
  const visible = (call: Call): JobView[] => {
    const all = call.services.jobs.list(kind);
    call.attach('digest', digestOf(all.map(rowOf)));
    return all.filter((job) => may(call, rule(looks, whereOf(job))));
  };

  return [
    defineMethod({
      method: 'GET',
      path: `/config/${kind}`,
      description: `Jobs that ${kind}, of datastores that the caller may look at.`,
      access: { auth: true },
      parameters: Type.Object({}),
      returns: Type.Array(Row),
      handler: (call) => visible(call).map(rowOf) as Static<typeof Row>[],
    }),
    defineMethod({
      method: 'POST',
      path: `/config/${kind}`,
      description: `Makes a job; it runs at its next slot.`,
      access: (asked) => rule([changes], asked as Place),
      parameters: Type.Object({
        id: JobId,
        ...Where,
        ...fields,
        schedule: isByHand ? Type.Optional(Schedule) : Schedule,
      }),
      returns: Nothing,
      handler: (call, asked) => {
        const { id, schedule = null, comment, disable = false, ...rest } = asked as Given;
        telling(
          () =>
            call.services.jobs.create(actorOf(call), {
              kind,
              id,
              schedule,
              comment,
              enabled: !disable,
              options: given(rest),
            }),
          id,
        );
        return null;
      },
    }),
    defineMethod({
      method: 'GET',
      path: `/config/${kind}/{id}`,
      description: 'One job.',
      access: { auth: true },
      parameters: OnlyId,
      returns: Row,
      handler: (call, { id }) => {
        const found = find(call, id, looks);
        call.attach('digest', digest(call));
        return rowOf(found) as Static<typeof Row>;
      },
    }),
    defineMethod({
      method: 'PUT',
      path: `/config/${kind}/{id}`,
      description: 'Changes a job; what is not named stays. A run that is under way ends with what it began with.',
      access: { auth: true },
      parameters: Type.Object({
        id: JobId,
        store: Type.Optional(StoreName),
        ns: Where.ns,
        ...fields,
        schedule: Type.Optional(Schedule),
        delete: Type.Optional(Type.Array(Type.Enum(deletable), { maxItems: 32 })),
        digest: Type.Optional(Digest),
      }),
      returns: Nothing,
      handler: (call, parameters) => {
        const { delete: deleted = [], digest: expected, ...asked } = parameters as Given & Changing;
        const { id, schedule, comment, disable, ...rest } = asked;
        const before = find(call, id, [changes]);
        requireDigest(expected, () => digest(call));
        const isGone = (name: string): boolean => deleted.includes(name);
        const kept = Object.fromEntries(Object.entries(before.options).filter(([name]) => !isGone(name)));
        const after = given({ ...kept, ...rest });
        const there = rule([changes], after as unknown as Place);
        if (!may(call, there)) throw denied(callerOf(call), there, true);
        const change = {
          schedule: schedule ?? (isGone('schedule') ? null : undefined),
          comment: comment ?? (isGone('comment') ? '' : undefined),
          enabled: disable === undefined ? (isGone('disable') ? true : undefined) : !disable,
          options: after,
        };
        telling(() => call.services.jobs.update(actorOf(call), { kind, id }, change), id);
        return null;
      },
    }),
    defineMethod({
      method: 'DELETE',
      path: `/config/${kind}/{id}`,
      description: 'Removes a job; a run that is under way goes on.',
      access: { auth: true },
      parameters: Type.Object({ id: JobId, digest: Type.Optional(Digest) }),
      returns: Nothing,
      handler: (call, { id, digest: expected }) => {
        find(call, id, [changes]);
        requireDigest(expected, () => digest(call));
        call.services.jobs.remove(actorOf(call), { kind, id });
        return null;
      },
    }),
    defineMethod({
      method: 'GET',
      path: `/admin/${kind}`,
      description: `Jobs that ${kind}, with their last and next runs.`,
      access: { auth: true },
      parameters: Type.Object({ store: Type.Optional(StoreName) }),
      returns: Type.Array(StatusRow),
      handler: (call, { store }) =>
        visible(call)
          .filter((job) => store === undefined || whereOf(job).store === store)
          .map((job) => ({ ...rowOf(job), ...statusOf(job) })) as Static<typeof StatusRow>[],
    }),
    defineMethod({
      method: 'POST',
      path: `/admin/${kind}/{id}/run`,
      description: 'Runs a job now, as a task of the caller; it waits for its turn like every run.',
      access: { auth: true },
      parameters: OnlyId,
      returns: UpidText,
      handler: (call, { id }) => {
        find(call, id, [changes]);
        const upid = telling(() => call.services.jobs.run({ kind, id }, callerOf(call)), id);
        if (upid === undefined) throw new HoldfastError('not-allowed', 'this process runs no jobs');
        return upid;
      },
    }),
  ];
}

interface Changing {
  readonly delete?: readonly string[];
  readonly digest?: string;
}

interface Place {
  readonly store: string;
  readonly ns?: string;
}

function whereOf({ options }: JobView): Place {
  return options as unknown as Place;
}

/** As it is set up. */
function rowOf({ id, options, schedule, comment, enabled }: JobView): Record<string, unknown> {
  return {
    id,
    ...options,
    ...(schedule !== null && { schedule }),
    ...(comment !== '' && { comment }),
    ...(!enabled && { disable: true }),
  };
}

/** What became of it; times in Unix seconds. */
function statusOf({ nextMs, last, enabled }: JobView): Record<string, unknown> {
  return {
    ...(enabled && nextMs !== undefined && { 'next-run': Math.ceil(nextMs / 1000) }),
    ...(last !== undefined && { 'last-run-state': last.message }),
    ...(last?.endMs != null && { 'last-run-endtime': Math.floor(last.endMs / 1000) }),
    ...(last?.upid != null && { 'last-run-upid': last.upid }),
  };
}

/** What stands in fields; the root namespace is none. */
function given(fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== ''));
}

/** Refusals of the scheduler in the words of the dialect. @throws ParameterError, what it throws besides. */
function telling<Result>(work: () => Result, id: string): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error.code === 'exists' && error.data.upid === undefined)
      throw new ParameterError([['id', `job '${id}' already exists.`]]);
    if (error.code === 'bad-argument' && error.data.schedule !== undefined)
      throw new ParameterError([['schedule', error.message]]);
    throw error;
  }
}
