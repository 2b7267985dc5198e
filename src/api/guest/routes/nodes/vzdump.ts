// /nodes/{node}/vzdump: backups of guests to a datastore, one after the other in one task.
import { Type } from 'typebox';
import { ROOT_USER } from '../../../../schema/auth-id.ts';
import { parseGuestId } from '../../../../schema/guest-names.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { ApiError, ParameterError } from '../../../dialect/failure.ts';
import { callerOf } from '../../../method.ts';
import { defineGuestMethod, type GuestCall, LIST_ANSWER_MS, may, requireNode, requirePrivilege } from '../../method.ts';
import type { GuestBackup } from '../../services.ts';
import { startGuestTask } from '../../start-guest-task.ts';
import { Flag, given, listOf, Node, StorageName } from '../parameters.ts';
import { requireNoPool } from '../qemu/list.ts';
import { findVolume } from '../storage/content.ts';
import { findStorage } from '../storage/storage-row.ts';
import { type DumpWish, dumpGuests } from './dump-guests.ts';

const PATH = '/nodes/{node}/vzdump';
const MAX_GUESTS = 10_000;
const IGNORED = 'Taken and ignored.';
const Ignored = (maxLength: number) => Type.Optional(Type.String({ maxLength, description: IGNORED }));
const IgnoredNumber = Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31, description: IGNORED }));
const IgnoredFlag = Type.Optional(Type.Boolean({ description: IGNORED }));
const VmidList = (description: string) => Type.Optional(Type.String({ maxLength: 65_536, description }));
const ForRoot = (description: string) => Type.Optional(Type.String({ maxLength: 4096, description }));

export const VZDUMP_METHODS = [
  defineGuestMethod({
    method: 'POST',
    path: PATH,
    description:
      'Backs guests up to a datastore, with VM.Backup on each and Datastore.AllocateSpace on the storage. Answers the task, or OK where there is nothing to do.',
    access: { auth: true },
    parameters: Type.Object({
      node: Node,
      vmid: VmidList('Guests, between commas.'),
      all: Type.Boolean({ default: false, description: 'All guests that the caller may back up.' }),
      exclude: VmidList('With all: not these.'),
      storage: Type.Optional(StorageName),
      mode: Type.Enum(['snapshot', 'suspend', 'stop'], { default: 'snapshot', description: 'As holdfast vm backup.' }),
      bwlimit: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 30, description: 'KiB a second; 0: no limit.' })),
      ionice: Type.Optional(Type.Integer({ minimum: 0, maximum: 8, description: 'Priority of reading.' })),
      lockwait: Type.Integer({ minimum: 0, maximum: 100_000, default: 180, description: 'Minutes.' }),
      protected: Type.Boolean({ default: false, description: 'The backups are protected from removal.' }),
      'notes-template': Type.Optional(
        Type.String({ maxLength: 1024, description: 'With {{guestname}}, {{vmid}}, {{node}}, {{cluster}}.' }),
      ),
      fleecing: Type.Optional(Type.String({ maxLength: 256, description: 'enabled=1,storage=STORAGE.' })),
      script: ForRoot('A hook script of this machine; for root@pam, and where agent.json allows it.'),
      'prune-backups': Type.Optional(
        Type.String({ maxLength: 1024, description: 'Taken, and not acted on: the log says so.' }),
      ),
      remove: Type.Optional(Type.Boolean({ description: 'With prune-backups; not acted on.' })),
      pool: Type.Optional(Type.String({ maxLength: 128, description: 'There are no pools.' })),
      dumpdir: ForRoot('There are no directories for backups: only a storage is taken.'),
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
    handler: async (call, { node, vmid, all, exclude, storage, mode, ...more }) => {
      requireNode(call, node);
      requireNoPool(more.pool);
      if (more.dumpdir !== undefined)
        throw new ParameterError([['dumpdir', 'there are no directories for backups: name a datastore as storage']]);
      if (more.script !== undefined && callerOf(call) !== ROOT_USER)
        throw new ParameterError([['script', 'Only root may set this option.']]);
      if (more.bwlimit !== undefined || more.ionice !== undefined) requirePrivilege(call, '/', 'Sys.Modify');
      const wish: Omit<GuestBackup, 'vmid'> = {
        storage: await requireDatastore(call, storage),
        mode,
        lockwaitMinutes: more.lockwait,
        isProtected: more.protected,
        ...given({
          ionice: more.ionice,
          bwlimit: more.bwlimit,
          notesTemplate: more['notes-template'],
          fleecingStorage: fleecingStorage(call, more.fleecing),
          script: more.script,
        }),
      };
      const vmids = await wantedGuests(call, { vmid, all, exclude });
      if (vmids.length === 0) return 'OK';
      call.services.backups.requireReady();
      const notes = notActedOn(more);
      const dump: DumpWish = { vmids, wish, notes };
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

/** @throws ApiError 403; ParameterError for what is no datastore, or none. */
async function requireDatastore(call: GuestCall, storage: string | undefined): Promise<string> {
  if (storage === undefined)
    throw new ParameterError([['storage', 'name a datastore of this server: backups are kept in one']]);
  requirePrivilege(call, `/storage/${storage}`, 'Datastore.AllocateSpace');
  const { content, type } = await findStorage(call, storage);
  if (type !== 'pbs' || !content.includes('backup'))
    throw new ParameterError([['storage', `storage '${storage}' is no datastore: backups are kept in one`]]);
  return storage;
}

/** Of `enabled=1,storage=fast`; undefined for each disk's own. */
function fleecingStorage(call: GuestCall, text = ''): string | undefined {
  const parts = listOf(text).map((part) => part.split('=', 2) as [string, string?]);
  const [wrong] = parts.find(([name]) => name !== 'enabled' && name !== 'storage') ?? [];
  if (wrong !== undefined)
    throw new ParameterError([['fleecing', `there is no '${wrong}': enabled=1,storage=STORAGE`]]);
  const storage = parts.find(([name]) => name === 'storage')?.[1];
  if (storage !== undefined) requirePrivilege(call, `/storage/${storage}`, 'Datastore.AllocateSpace');
  return storage;
}

/** Those that are named, or all that the caller may back up. @throws ApiError 403, ParameterError. */
async function wantedGuests(
  call: GuestCall,
  {
    vmid,
    all,
    exclude,
  }: { readonly vmid: string | undefined; readonly all: boolean; readonly exclude: string | undefined },
): Promise<readonly number[]> {
  if (all === (vmid !== undefined))
    throw new ParameterError([['vmid', all ? 'give either vmid or all' : 'name guests, or give all']]);
  const left = new Set(idsOf('exclude', exclude));
  if (!all) {
    if (left.size > 0) throw new ParameterError([['exclude', 'only with all']]);
    const named = [...new Set(idsOf('vmid', vmid))];
    for (const id of named) requirePrivilege(call, `/vms/${id}`, 'VM.Backup');
    return named;
  }
  const there = (await call.services.guests.list(LIST_ANSWER_MS)).map((each) => each.vmid);
  return there.filter((id) => !left.has(id) && may(call, `/vms/${id}`, 'VM.Backup')).sort((one, other) => one - other);
}

function idsOf(name: string, text: string | undefined): number[] {
  const parts = listOf(text);
  if (parts.length > MAX_GUESTS) throw new ParameterError([[name, `at most ${MAX_GUESTS} guests`]]);
  return parts.map((part) => {
    try {
      return parseGuestId(part);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      throw new ParameterError([[name, error.message]]);
    }
  });
}

/** What was asked for and is left to others: said, so that nobody relies on it. */
function notActedOn(more: { readonly 'prune-backups'?: string; readonly remove?: boolean }): string[] {
  const prunes = more['prune-backups'];
  const isKept = prunes === undefined || listOf(prunes).every((part) => /^keep-all=(1|yes|on|true)$/.test(part));
  return isKept && more.remove !== true
    ? []
    : ['nothing is pruned by a backup here: prune the datastore itself (holdfast prune, or its prune over the API)'];
}
