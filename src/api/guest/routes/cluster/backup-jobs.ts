// /cluster/backup: backups of the guests of this machine by a schedule, as Proxmox VE has them. Behind each stands a job of kind vzdump.
import { randomUUID } from 'node:crypto';
import { type Static, type TObject, Type } from 'typebox';
import type { JobView } from '../../../../jobs/schedule/job-desk.ts';
import { LOCAL_NODE } from '../../../../schema/names.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { ApiError, ParameterError } from '../../../dialect/failure.ts';
import { actorOf } from '../../../routes/actor.ts';
import { LINE } from '../../../routes/parameters.ts';
import { defineGuestMethod, type GuestCall, onRoot, requireNode, requirePrivilege } from '../../method.ts';
import {
  keepsAll,
  requireDatastore,
  requireFleecing,
  requireMayAsk,
  requireRootForScript,
} from '../nodes/dump-parameters.ts';
import { Count, Flag, flag, given, KeyList, listOf, Nothing } from '../parameters.ts';
import {
  BACKUP_FIELDS,
  type BackupFields,
  fieldsOf,
  optionsOf,
  refuseWhatIsNotHere,
  withNewGuests,
  without,
} from './backup-fields.ts';
import { includedVolumes } from './covered-guests.ts';

const PATH = '/cluster/backup';
const KIND = 'vzdump';

const NewId = Type.String({
  pattern: '^[A-Za-z][A-Za-z0-9_-]+$',
  maxLength: 50,
  description: 'Name of the job; one is made without it.',
});
const Id = Type.String({
  pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*$',
  maxLength: 64,
  description: 'Name of the job.',
});
const PLAN_FIELDS = {
  schedule: Type.Optional(
    Type.String({ minLength: 1, maxLength: 128, description: 'A calendar event, for example sat 18:15.' }),
  ),
  starttime: Type.Optional(
    Type.String({ pattern: '^\\d{1,2}:\\d{1,2}$', maxLength: 5, description: 'In place of a schedule: HH:MM.' }),
  ),
  dow: Type.Optional(
    Type.String({ pattern: '^[a-z]{3}([,; ]+[a-z]{3})*$', maxLength: 64, description: 'With starttime: mon,tue.' }),
  ),
  enabled: Type.Optional(Type.Boolean({ description: 'It runs by its schedule; yes without it.' })),
  comment: Type.Optional(Type.String({ pattern: LINE, maxLength: 512, description: 'One line.' })),
};
type Plan = Static<TObject<typeof PLAN_FIELDS>>;
const Properties = Type.Record(Type.String(), Type.Union([Type.String(), Type.Integer()]));
const Row = Type.Object({
  id: Type.String(),
  type: Type.Enum(['vzdump']),
  enabled: Flag,
  storage: Type.String(),
  mode: Type.String(),
  schedule: Type.Optional(Type.String()),
  'next-run': Type.Optional(Type.Integer({ description: 'Unix seconds.' })),
  comment: Type.Optional(Type.String()),
  vmid: Type.Optional(Type.String()),
  all: Type.Optional(Flag),
  pool: Type.Optional(Type.String()),
  exclude: Type.Optional(Type.String()),
  lockwait: Type.Optional(Count),
  bwlimit: Type.Optional(Count),
  ionice: Type.Optional(Count),
  protected: Type.Optional(Flag),
  'notes-template': Type.Optional(Type.String()),
  script: Type.Optional(Type.String()),
  fleecing: Type.Optional(Properties),
  performance: Type.Optional(Properties),
  'prune-backups': Type.Optional(Type.String()),
  compress: Type.Optional(Type.String()),
  pigz: Type.Optional(Count),
  zstd: Type.Optional(Count),
  stopwait: Type.Optional(Count),
  quiet: Type.Optional(Flag),
  remove: Type.Optional(Flag),
  stdexcludes: Type.Optional(Flag),
  'pbs-change-detection-mode': Type.Optional(Type.String()),
  'notification-mode': Type.Optional(Type.String()),
  'repeat-missed': Type.Optional(Flag),
  node: Type.Optional(Type.String()),
});
/** Without these there is no job. */
const NEEDED: readonly string[] = ['storage', 'schedule', 'starttime', 'dow'];

export const BACKUP_JOB_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: PATH,
    description: 'Jobs that back up guests of this machine.',
    access: onRoot('Sys.Audit'),
    parameters: Type.Object({}),
    returns: Type.Array(Row),
    handler: (call) => backupJobs(call).map(rowOf),
  }),
  defineGuestMethod({
    method: 'POST',
    path: PATH,
    description:
      'Makes a job; it runs at its next slot, as root@pam. With Datastore.AllocateSpace on the storage, and Datastore.Allocate for prune-backups.',
    access: onRoot('Sys.Modify'),
    parameters: Type.Object({ id: Type.Optional(NewId), ...PLAN_FIELDS, ...BACKUP_FIELDS }),
    returns: Nothing,
    handler: async (call, { id = `backup-${randomUUID().slice(0, 13)}`, enabled = true, comment, ...asked }) => {
      const { schedule: _schedule, starttime: _time, dow: _dow, ...fields } = asked;
      const schedule = scheduleOf(asked);
      if (schedule === undefined)
        throw new ParameterError([['schedule', "neither 'starttime' nor 'schedule' were set"]]);
      await requireDatastore(call, fields.storage);
      requireAllowed(call, fields, fields);
      const options = optionsOf(fields);
      const job = { kind: KIND, id, schedule, enabled, comment, options };
      telling(id, () => call.services.jobs.create(actorOf(call), job));
      return null;
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/{id}`,
    description: 'One job.',
    access: onRoot('Sys.Audit'),
    parameters: Type.Object({ id: Id }),
    returns: Row,
    handler: (call, { id }) => rowOf(findJob(call, id)),
  }),
  defineGuestMethod({
    method: 'PUT',
    path: `${PATH}/{id}`,
    description: 'Changes a job; what is not named stays. A run that is under way ends with what it began with.',
    access: onRoot('Sys.Modify'),
    parameters: Type.Object({ id: Id, ...PLAN_FIELDS, ...BACKUP_FIELDS, delete: Type.Optional(KeyList) }),
    returns: Nothing,
    handler: async (call, { id, enabled, comment, delete: deleted, ...asked }) => {
      findJob(call, id);
      const { schedule: _schedule, starttime: _time, dow: _dow, ...fields } = asked;
      const schedule = scheduleOf(asked);
      const gone = requireDeletable(listOf(deleted));
      if (gone.includes('script')) requireRootForScript(call);
      // What a job has been allowed once it keeps, whoever changes the rest of it.
      if (fields.storage !== undefined) await requireDatastore(call, fields.storage);
      // From here on nothing waits: what another one changed meanwhile is what is judged and changed.
      const { options: before } = findJob(call, id);
      const after = { ...withNewGuests(without(fieldsOf(before), gone), fields), ...fields };
      requireAllowed(call, fields, after);
      const options = optionsOf(after, before);
      const wish = {
        schedule,
        enabled: enabled ?? (gone.includes('enabled') ? true : undefined),
        comment: comment ?? (gone.includes('comment') ? '' : undefined),
        options,
      };
      telling(id, () => call.services.jobs.update(actorOf(call), { kind: KIND, id }, wish));
      return null;
    },
  }),
  defineGuestMethod({
    method: 'DELETE',
    path: `${PATH}/{id}`,
    description: 'Removes a job; a run that is under way goes on.',
    access: onRoot('Sys.Modify'),
    parameters: Type.Object({ id: Id }),
    returns: Nothing,
    handler: (call, { id }) => {
      findJob(call, id);
      call.services.jobs.remove(actorOf(call), { kind: KIND, id });
      return null;
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/{id}/included_volumes`,
    description: 'The guests of a job that the caller may look at, each with its disks and whether a backup has them.',
    access: onRoot('Sys.Audit'),
    parameters: Type.Object({ id: Id }),
    returns: Type.Object({
      children: Type.Array(
        Type.Object({
          id: Count,
          type: Type.Enum(['qemu', 'unknown']),
          name: Type.Optional(Type.String()),
          children: Type.Array(
            Type.Object({ id: Type.String(), name: Type.String(), included: Flag, reason: Type.String() }),
          ),
        }),
      ),
    }),
    handler: async (call, { id }) => ({ children: await includedVolumes(call, findJob(call, id).options) }),
  }),
];

/** Those of the guests of this machine; what other hosts back up is no business of this dialect. */
export function backupJobs({ services }: GuestCall): JobView[] {
  return services.jobs.list(KIND).filter(isOfThisMachine);
}

function isOfThisMachine({ options }: JobView): boolean {
  return options.node === LOCAL_NODE;
}

/** @throws ParameterError. */
function findJob(call: GuestCall, id: string): JobView {
  const found = call.services.jobs.find({ kind: KIND, id });
  if (found === undefined || !isOfThisMachine(found)) throw new ParameterError([['id', `No such job '${id}'`]]);
  return found;
}

/** Of a job that is so `after` what was `asked` for, but for its storage. @throws ParameterError, ApiError 403, 500. */
function requireAllowed(call: GuestCall, asked: BackupFields, after: BackupFields): void {
  refuseWhatIsNotHere(after);
  requireMayAsk(call, asked);
  if (asked.node !== undefined) requireNode(call, asked.node);
  requireFleecing(call, asked.fleecing);
  const isChanged = asked.storage !== undefined || asked['prune-backups'] !== undefined;
  if (isChanged && !keepsAll(after['prune-backups']))
    requirePrivilege(call, `/storage/${after.storage}`, 'Datastore.Allocate');
}

/** @throws ParameterError. */
function scheduleOf({ schedule, starttime, dow }: Plan): string | undefined {
  if (schedule !== undefined && starttime !== undefined)
    throw new ParameterError([['starttime', "'starttime' and 'schedule' cannot both be set"]]);
  if (starttime === undefined && dow !== undefined)
    throw new ParameterError([['dow', "goes with 'starttime': take 'schedule'"]]);
  return schedule ?? (dow === undefined ? starttime : `${listOf(dow).join(',')} ${starttime}`);
}
/** @throws ParameterError. */
function requireDeletable(names: readonly string[]): readonly string[] {
  const isKnown = (name: string): boolean =>
    name in BACKUP_FIELDS || name === 'comment' || name === 'enabled' || NEEDED.includes(name);
  const wrong = names.find((name) => !isKnown(name));
  if (wrong !== undefined) throw new ParameterError([['delete', `unknown option '${wrong.slice(0, 64)}'`]]);
  const needed = names.find((name) => NEEDED.includes(name));
  if (needed !== undefined) throw new ParameterError([['delete', `a job needs its ${needed}: give another one`]]);
  return names;
}

function rowOf({ id, enabled, schedule, comment, nextMs, options }: JobView): Static<typeof Row> {
  const fields = fieldsOf(options);
  const { storage = '', mode = 'snapshot', fleecing, performance, ...rest } = fields;
  const shown = Object.entries(rest).map(([name, value]) => [name, typeof value === 'boolean' ? flag(value) : value]);
  return {
    id,
    type: 'vzdump',
    enabled: flag(enabled),
    storage,
    mode,
    ...(schedule !== null && { schedule }),
    ...(nextMs !== undefined && { 'next-run': Math.ceil(nextMs / 1000) }),
    ...(comment !== '' && { comment }),
    ...given({ fleecing: propertiesOf(fleecing), performance: propertiesOf(performance) }),
    ...(Object.fromEntries(shown) as object),
  };
}

/** `enabled=1,storage=fast` as an object, as clients have it here. */
function propertiesOf(text: string | undefined): Static<typeof Properties> | undefined {
  if (text === undefined) return undefined;
  const pairs = listOf(text).map((part) => part.split('=', 2) as [string, string?]);
  return Object.fromEntries(
    pairs.map(([name, value = '1']) => [name, /^\d{1,9}$/.test(value) ? Number(value) : value]),
  );
}

/** Refusals of the scheduler in the words of the dialect. @throws ParameterError, ApiError 500, what it throws besides. */
function telling(id: string, work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error.code === 'exists') throw new ApiError(500, 'exists', `Job '${id}' already exists`);
    if (error.code === 'bad-argument' && error.data.schedule !== undefined)
      throw new ParameterError([['schedule', error.message]]);
    if (error.code === 'bad-argument' && typeof error.data.option === 'string')
      throw new ParameterError([[error.data.option, error.message]]);
    throw error;
  }
}
