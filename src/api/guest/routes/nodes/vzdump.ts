// /nodes/{node}/vzdump: backups of guests to a datastore, one after the other in one task.
import { Type } from 'typebox';
import type { KeepCounts } from '../../../../datastore/prune/keep-rules.ts';
import { ApiError, ParameterError } from '../../../dialect/failure.ts';
import { callerOf } from '../../../method.ts';
import { PoolName } from '../../../routes/pool-parts.ts';
import { defineGuestMethod, type GuestCall, LIST_ANSWER_MS, may, requireNode, requirePrivilege } from '../../method.ts';
import type { GuestBackup } from '../../services.ts';
import { startGuestTask } from '../../start-guest-task.ts';
import { keepRulesOf } from '../cluster/backup-fields.ts';
import { Flag, given, Node, StorageName } from '../parameters.ts';
import { findVolume } from '../storage/content.ts';
import { type DumpWish, dumpGuests } from './dump-guests.ts';
import {
  BACKUP_MODES,
  DUMP_FIELDS,
  guestIds,
  keepsAll,
  requireDatastore,
  requireFleecing,
  requireMayAsk,
  vmidList,
} from './dump-parameters.ts';

const PATH = '/nodes/{node}/vzdump';
const IGNORED = 'Taken and ignored.';
const Ignored = (maxLength: number) => Type.Optional(Type.String({ maxLength, description: IGNORED }));
const IgnoredNumber = Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31, description: IGNORED }));
const IgnoredFlag = Type.Optional(Type.Boolean({ description: IGNORED }));

export const VZDUMP_METHODS = [
  defineGuestMethod({
    method: 'POST',
    path: PATH,
    description:
      'Backs guests up to a datastore, with VM.Backup on each and Datastore.AllocateSpace on the storage, and Datastore.Allocate for prune-backups. Answers the task, or OK where there is nothing to do.',
    access: { auth: true },
    parameters: Type.Object({
      node: Node,
      vmid: vmidList('Guests, between commas.'),
      all: Type.Boolean({ default: false, description: 'All guests that the caller may back up.' }),
      pool: Type.Optional(PoolName),
      exclude: vmidList('With all or a pool: not these.'),
      storage: Type.Optional(StorageName),
      mode: Type.Enum([...BACKUP_MODES], { default: 'snapshot', description: 'As holdfast vm backup.' }),
      ...DUMP_FIELDS,
      lockwait: Type.Integer({ minimum: 0, maximum: 100_000, default: 180, description: 'Minutes.' }),
      protected: Type.Boolean({ default: false, description: 'The backups are protected from removal.' }),
      'prune-backups': Type.Optional(
        Type.String({
          maxLength: 1024,
          description: 'What stays of each guest after its backup: keep-last=3,keep-daily=7.',
        }),
      ),
      remove: Type.Optional(Type.Boolean({ description: 'Not 0 together with prune-backups.' })),
      compress: Type.Optional(Type.Enum(['0', '1', 'gzip', 'lzo', 'zstd'], { description: IGNORED })),
      maxfiles: IgnoredNumber,
      pigz: IgnoredNumber,
      zstd: IgnoredNumber,
      stopwait: IgnoredNumber,
      quiet: IgnoredFlag,
      stdexcludes: IgnoredFlag,
      stdout: IgnoredFlag,
      stop: IgnoredFlag,
      tmpdir: Ignored(4096),
      mailto: Ignored(4096),
      mailnotification: Ignored(32),
      'notification-mode': Ignored(32),
      'pbs-change-detection-mode': Ignored(32),
      performance: Ignored(256),
      'job-id': Ignored(50),
      'exclude-path': Type.Optional(Type.Array(Type.String({ maxLength: 4096 }), { maxItems: 256 })),
    }),
    returns: Type.String({ description: 'UPID of the task, or OK.' }),
    handler: async (call, { node, vmid, all, pool, exclude, storage, mode, ...more }) => {
      requireNode(call, node);
      requireMayAsk(call, { ...more, ...given({ pool }) });
      const wish: Omit<GuestBackup, 'vmid'> = {
        storage: await requireDatastore(call, storage),
        mode,
        lockwaitMinutes: more.lockwait,
        isProtected: more.protected,
        ...given({
          ionice: more.ionice,
          bwlimit: more.bwlimit,
          notesTemplate: more['notes-template'],
          fleecingStorage: requireFleecing(call, more.fleecing),
          script: more.script,
        }),
      };
      const counts = requireKeepRules(call, wish.storage, more);
      const vmids = await wantedGuests(call, { vmid, all, pool, exclude });
      if (vmids.length === 0) return 'OK';
      call.services.backups.requireReady();
      const dump: DumpWish = { vmids, wish, counts };
      const id = vmids.length === 1 ? String(vmids[0]) : '';
      const { backups, guests } = call.services;
      return startGuestTask(call, 'vzdump', id, (work) => dumpGuests({ backups, guests }, dump, work));
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/defaults`,
    description: 'What a backup does where nothing is said.',
    access: { auth: true },
    parameters: Type.Object({ node: Node, storage: Type.Optional(StorageName) }),
    returns: Type.Object({
      mode: Type.Enum(['snapshot']),
      ionice: Type.Integer(),
      lockwait: Type.Integer(),
      bwlimit: Type.Integer(),
      remove: Flag,
      'prune-backups': Type.String(),
      storage: Type.Optional(Type.String()),
    }),
    handler: async (call, { node, storage }) => {
      requireNode(call, node);
      if (storage !== undefined) await requireDatastore(call, storage);
      const fixed = { mode: 'snapshot' as const, ionice: 7, lockwait: 180, bwlimit: 0, remove: 0 };
      return { ...fixed, 'prune-backups': 'keep-all=1', ...given({ storage }) };
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/extractconfig`,
    description: 'The configuration of a virtual machine that a backup holds.',
    access: { auth: true },
    parameters: Type.Object({
      node: Node,
      volume: Type.String({ minLength: 1, maxLength: 1024, description: 'Of a backup, as its storage lists it.' }),
    }),
    returns: Type.String(),
    handler: async (call, { node, volume }) => {
      requireNode(call, node);
      const { volid } = await findVolume(call, volume.split(':', 1)[0] ?? '', volume);
      const text = await call.services.backups.config(volid, callerOf(call));
      if (text !== undefined) return text;
      throw new ApiError(
        500,
        'key-missing',
        `${volid} is encrypted, and this server has no key: its host can restore it`,
      );
    },
  }),
];

/** Those that are named or that are in the pool, or all that the caller may back up. @throws ApiError 403, ParameterError. */
async function wantedGuests(
  call: GuestCall,
  {
    vmid,
    all,
    pool,
    exclude,
  }: {
    readonly vmid: string | undefined;
    readonly all: boolean;
    readonly pool: string | undefined;
    readonly exclude: string | undefined;
  },
): Promise<readonly number[]> {
  if (pool !== undefined && vmid !== undefined)
    throw new ParameterError([['pool', "option conflicts with option 'vmid'"]]);
  if (pool !== undefined && all) throw new ParameterError([['all', "option conflicts with option 'pool'"]]);
  if (pool === undefined && all === (vmid !== undefined))
    throw new ParameterError([['vmid', all ? 'give either vmid or all' : 'name guests or a pool, or give all']]);
  const left = new Set(guestIds('exclude', exclude));
  if (vmid !== undefined) {
    if (left.size > 0) throw new ParameterError([['exclude', 'only with all, or a pool']]);
    const named = guestIds('vmid', vmid);
    for (const id of named) requirePrivilege(call, `/vms/${id}`, 'VM.Backup');
    return named;
  }
  const listed = (await call.services.guests.list(LIST_ANSWER_MS)).map((each) => each.vmid);
  const there = listed.filter((id) => !left.has(id)).sort((one, other) => one - other);
  if (pool === undefined) return there.filter((id) => may(call, `/vms/${id}`, 'VM.Backup'));
  const { vms } = call.services.pools.require(pool);
  const members = there.filter((id) => vms.includes(id));
  // Who asks for a pool means all of it.
  for (const id of members) requirePrivilege(call, `/vms/${id}`, 'VM.Backup');
  return members;
}

/** Without any nothing is pruned. @throws ParameterError, ApiError 403. */
function requireKeepRules(
  call: GuestCall,
  storage: string,
  asked: { readonly 'prune-backups'?: string; readonly remove?: boolean },
): KeepCounts {
  const rules = asked['prune-backups'];
  if (keepsAll(rules)) return {};
  if (asked.remove === false) throw new ParameterError([['remove', "option conflicts with option 'prune-backups'"]]);
  const { counts } = keepRulesOf(rules);
  requirePrivilege(call, `/storage/${storage}`, 'Datastore.Allocate');
  return counts;
}
