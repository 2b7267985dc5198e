// /config/datastore: which datastores there are, and what an administrator allows in them.
import { type Static, Type } from 'typebox';
import { digestOf, requireDigest } from '../../../auth/config-digest.ts';
import { NO_LIMITS } from '../../../datastore/limits/limits-file.ts';
import { ApiError, ParameterError } from '../../dialect/failure.ts';
import { type Call, callerOf, defineMethod, type InPath, type PrivilegeRule } from '../../method.ts';
import type { DatastoreEntry } from '../../services.ts';
import { noSuchStore } from '../../snapshots/owned-groups.ts';
import { startTask } from '../../start-task.ts';
import { type GcPlan, gcPlans, gcScheduleChange } from '../../stores/gc-schedule.ts';
import {
  maintenanceText,
  parseMaintenance,
  parseQuotas,
  quotaTexts,
  readStoreLimits,
} from '../../stores/store-options.ts';
import { actorOf } from '../actor.ts';
import { Comment, Digest, Nothing, Schedule, StoreName } from '../parameters.ts';

const PATH = '/config/datastore';
const Row = Type.Object({
  name: Type.String(),
  path: Type.String(),
  comment: Type.Optional(Type.String()),
  'gc-schedule': Type.Optional(Type.String()),
  'maintenance-mode': Type.Optional(Type.String()),
  quota: Type.Optional(Type.Array(Type.String())),
});
const StorePath = Type.String({
  pattern: '^/[^\\u0000-\\u001f\\u007f]*$',
  maxLength: 4096,
  description: 'Directory of the datastore, absolute.',
});
const Options = {
  comment: Type.Optional(Comment),
  'gc-schedule': Type.Optional(Schedule),
  'maintenance-mode': Type.Optional(
    Type.String({ maxLength: 2048, description: 'offline or read-only, and if you like ,message=TEXT.' }),
  ),
  quota: Type.Optional(
    Type.Array(Type.String({ maxLength: 512 }), {
      maxItems: 1000,
      description:
        'Most bytes on disk: ns=NAMESPACE,bytes=N or owner=AUTHID,bytes=N. All of them, for they replace those of before.',
    }),
  ),
};

function onEntry(privilege: 'Datastore.Audit' | 'Datastore.Modify' | 'Datastore.Allocate') {
  return { onPath: ({ name }: InPath): PrivilegeRule => ({ path: `/datastore/${name}`, anyOf: [privilege] }) };
}

async function rowOf(entry: DatastoreEntry, { schedule }: GcPlan): Promise<Static<typeof Row>> {
  const limits = await readStoreLimits(entry);
  const maintenance = maintenanceText(limits);
  const quota = quotaTexts(limits);
  return {
    name: entry.name,
    path: entry.path,
    ...(entry.comment === undefined ? {} : { comment: entry.comment }),
    ...(schedule === undefined ? {} : { 'gc-schedule': schedule }),
    ...(maintenance === undefined ? {} : { 'maintenance-mode': maintenance }),
    ...(quota.length === 0 ? {} : { quota }),
  };
}

async function allRows({ services }: Call): Promise<Static<typeof Row>[]> {
  const planOf = gcPlans(services.jobs);
  return await Promise.all(services.datastores.list().map((entry) => rowOf(entry, planOf(entry.name))));
}

/** @throws HoldfastError `bad-argument` when somebody changed one since. */
async function requireAsRead(call: Call, digest: string | undefined): Promise<void> {
  if (digest === undefined) return;
  const rows = await allRows(call);
  requireDigest(digest, () => digestOf(rows));
}

/** @throws ApiError 400. */
function findEntry({ services }: Call, name: string): DatastoreEntry {
  const entry = services.datastores.list().find((each) => each.name === name);
  if (entry === undefined) throw noSuchStore(name);
  return entry;
}

export const DATASTORE_CONFIG_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description: 'The datastores that the caller may look at, as they are set up.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(Row),
    handler: async (call) => {
      const rows = await allRows(call);
      call.attach('digest', digestOf(rows));
      const { permissions } = call.services;
      return rows.filter(({ name }) => permissions.has(callerOf(call), `/datastore/${name}`, 'Datastore.Audit'));
    },
  }),
  defineMethod({
    method: 'POST',
    path: PATH,
    description: 'Makes a datastore, or takes one that is there. Answers the task.',
    access: { onPath: () => ({ path: '/datastore', anyOf: ['Datastore.Allocate'] }) },
    parameters: Type.Object({
      name: StoreName,
      path: StorePath,
      comment: Type.Optional(Comment),
      'gc-schedule': Type.Optional(Schedule),
      'reuse-datastore': Type.Boolean({ default: false, description: 'Take the datastore that is in the directory.' }),
      'chunk-average': Type.Optional(
        Type.Integer({
          minimum: 4096,
          maximum: 4_194_304,
          description: 'Average size of chunks of a new datastore, in bytes.',
        }),
      ),
    }),
    returns: Type.String(),
    handler: (call, { name, path, comment, 'gc-schedule': schedule, ...more }) => {
      const { 'reuse-datastore': reuse, 'chunk-average': averageChunkBytes } = more;
      const { datastores, jobs } = call.services;
      const actor = actorOf(call);
      if (datastores.list().some((each) => each.name === name))
        throw new ParameterError([['name', `datastore '${name}' already exists.`]]);
      const plan = gcScheduleChange(jobs, actor, name, schedule);
      const { upid } = startTask(call, { type: 'create-datastore', id: name }, async (task) => {
        await datastores.create(actor, { name, path, comment, reuse, averageChunkBytes });
        task.log(`datastore '${name}' is at ${path}`);
        plan();
      });
      return upid;
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{name}`,
    description: 'One datastore, as it is set up.',
    access: onEntry('Datastore.Audit'),
    parameters: Type.Object({ name: StoreName }),
    returns: Row,
    handler: async (call, { name }) => {
      const rows = await allRows(call);
      call.attach('digest', digestOf(rows));
      const row = rows.find((each) => each.name === name);
      if (row === undefined) throw noSuchStore(name);
      return row;
    },
  }),
  defineMethod({
    method: 'PUT',
    path: `${PATH}/{name}`,
    description: 'Changes comment, schedule of garbage collections, maintenance mode or quotas of a datastore.',
    access: onEntry('Datastore.Modify'),
    parameters: Type.Object({
      name: StoreName,
      ...Options,
      delete: Type.Optional(
        Type.Array(Type.Enum(['comment', 'gc-schedule', 'maintenance-mode', 'quota']), { maxItems: 16 }),
      ),
      digest: Type.Optional(Digest),
    }),
    returns: Nothing,
    handler: async (call, { name, comment, 'gc-schedule': schedule, ...more }) => {
      const { 'maintenance-mode': mode, quota, delete: removed = [], digest } = more;
      findEntry(call, name);
      await requireAsRead(call, digest);
      const takes = (option: (typeof removed)[number]): boolean => removed.includes(option);
      const { datastores, jobs } = call.services;
      const wanted = schedule ?? (takes('gc-schedule') ? null : undefined);
      const plan = gcScheduleChange(jobs, actorOf(call), name, wanted);
      await datastores.update(actorOf(call), name, {
        ...(comment !== undefined && { comment }),
        ...(mode !== undefined && { maintenance: parseMaintenance(mode) }),
        ...(quota !== undefined && { quotas: parseQuotas(quota) }),
        ...(takes('comment') && { comment: null }),
        ...(takes('maintenance-mode') && { maintenance: NO_LIMITS.maintenance }),
        ...(takes('quota') && { quotas: NO_LIMITS.quotas }),
      });
      plan();
      return null;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${PATH}/{name}`,
    description:
      'Forgets a datastore and the jobs that prune, verify or collect garbage there; its files stay. Answers the task.',
    access: onEntry('Datastore.Allocate'),
    parameters: Type.Object({
      name: StoreName,
      'destroy-data': Type.Boolean({ default: false, description: 'Remove all of it from the disk.' }),
      'keep-job-configs': Type.Boolean({ default: false, description: 'Its jobs stay.' }),
      digest: Type.Optional(Digest),
    }),
    returns: Type.String(),
    handler: async (call, { name, 'destroy-data': destroyData, 'keep-job-configs': keepJobs, digest }) => {
      findEntry(call, name);
      await requireAsRead(call, digest);
      const { datastores, tasks } = call.services;
      const running = tasks.list({ store: name, running: true, limit: 1 }).total;
      if (running > 0)
        throw new ApiError(400, 'datastore-locked', `tasks of datastore '${name}' are running; wait for their end`);
      const work = { type: 'delete-datastore', id: name };
      return startTask(call, work, () => datastores.remove(actorOf(call), name, { destroyData, keepJobs })).upid;
    },
  }),
];
