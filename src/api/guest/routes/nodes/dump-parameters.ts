// What a backup of guests is asked for with, at once or as a job: the parameters that both take, and who may give them.
import { Type } from 'typebox';
import { ROOT_USER } from '../../../../schema/auth-id.ts';
import { parseGuestId } from '../../../../schema/guest-names.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { ParameterError } from '../../../dialect/failure.ts';
import { callerOf } from '../../../method.ts';
import { type GuestCall, requirePrivilege } from '../../method.ts';
import { requirePool } from '../../pool-of-guest.ts';
import { listOf, STORAGE_NAME } from '../parameters.ts';
import { findStorage } from '../storage/storage-row.ts';

const MAX_GUESTS = 10_000;
const ON = /^(1|yes|on|true)$/i;
const SWITCH = /^(0|1|yes|no|on|off|true|false)$/i;
const IS_STORAGE = new RegExp(STORAGE_NAME);
const NO_DIRECTORIES = 'there are no directories for backups: name a datastore as storage';

export const vmidList = (description: string) => Type.Optional(Type.String({ maxLength: 65_536, description }));
const ForRoot = (description: string) => Type.Optional(Type.String({ maxLength: 4096, description }));

export const BACKUP_MODES = ['snapshot', 'suspend', 'stop'] as const;
export const DUMP_FIELDS = {
  bwlimit: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 30, description: 'KiB a second; 0: no limit.' })),
  ionice: Type.Optional(Type.Integer({ minimum: 0, maximum: 8, description: 'Priority of reading.' })),
  'notes-template': Type.Optional(
    Type.String({ maxLength: 1024, description: 'With {{guestname}}, {{vmid}}, {{node}}, {{cluster}}.' }),
  ),
  fleecing: Type.Optional(Type.String({ maxLength: 256, description: 'enabled=1,storage=STORAGE.' })),
  script: ForRoot('A hook script of this machine; for root@pam, and where agent.json allows it.'),
  dumpdir: ForRoot('There are no directories for backups: only a storage is taken.'),
};

export interface AskedOfDump {
  readonly pool?: string;
  readonly dumpdir?: string;
  readonly script?: string;
  readonly bwlimit?: number;
  readonly ionice?: number;
}

/** @throws ParameterError for what is not here or for root alone, ApiError 403. */
export function requireMayAsk(call: GuestCall, asked: AskedOfDump): void {
  if (asked.pool !== undefined) requireSeenPool(call, asked.pool);
  if (asked.dumpdir !== undefined) throw new ParameterError([['dumpdir', NO_DIRECTORIES]]);
  if (asked.script !== undefined) requireRootForScript(call);
  if (asked.bwlimit !== undefined || asked.ionice !== undefined) requirePrivilege(call, '/', 'Sys.Modify');
}

/** One that is there, and that the caller may look at. @throws ApiError 403; ParameterError. */
function requireSeenPool(call: GuestCall, pool: string): void {
  requirePrivilege(call, `/pool/${pool}`, 'Pool.Audit');
  requirePool(call, pool);
}

/** To set one, and to take one away. @throws ParameterError. */
export function requireRootForScript(call: GuestCall): void {
  if (callerOf(call) !== ROOT_USER) throw new ParameterError([['script', 'Only root may set this option.']]);
}

/** @throws ApiError 403; ParameterError for what is no datastore, or none. */
export async function requireDatastore(call: GuestCall, storage: string | undefined): Promise<string> {
  if (storage === undefined)
    throw new ParameterError([['storage', 'name a datastore of this server: backups are kept in one']]);
  requirePrivilege(call, `/storage/${storage}`, 'Datastore.AllocateSpace');
  const { content, type } = await findStorage(call, storage);
  if (type !== 'pbs' || !content.includes('backup'))
    throw new ParameterError([['storage', `storage '${storage}' is no datastore: backups are kept in one`]]);
  return storage;
}

/** Where backups are fleeced to, if not beside each disk; and of a text that says nothing of that what it says. */
export interface Fleecing {
  readonly storage?: string;
  readonly idle?: string;
}

/** Of `enabled=1,storage=fast`, or `1,storage=fast`. @throws ParameterError. */
export function fleecingOf(text = ''): Fleecing {
  const parts = listOf(text).map((part) => (part.includes('=') ? part : `enabled=${part}`).split('=', 2));
  if (parts.length === 0) return {};
  const values = new Map(parts as [string, string][]);
  const { enabled = '1', storage, ...others } = Object.fromEntries(values);
  const [wrong] = Object.keys(others);
  if (wrong !== undefined)
    throw new ParameterError([['fleecing', `there is no '${wrong}': enabled=1,storage=STORAGE`]]);
  if (!SWITCH.test(enabled)) throw new ParameterError([['fleecing', `enabled is 1 or 0, not '${enabled}'`]]);
  if (storage !== undefined && !IS_STORAGE.test(storage))
    throw new ParameterError([['fleecing', `'${storage}' is no name of a storage`]]);
  if (!ON.test(enabled)) return { idle: storage === undefined ? 'enabled=0' : `enabled=0,storage=${storage}` };
  return storage === undefined ? { idle: 'enabled=1' } : { storage };
}

/** The storage for fleecing, which the caller may use. @throws ParameterError, ApiError 403. */
export function requireFleecing(call: GuestCall, text: string | undefined): string | undefined {
  const { storage } = fleecingOf(text);
  if (storage !== undefined) requirePrivilege(call, `/storage/${storage}`, 'Datastore.AllocateSpace');
  return storage;
}

/** Each once. @throws ParameterError. */
export function guestIds(name: string, text: string | undefined): number[] {
  const parts = listOf(text);
  if (parts.length > MAX_GUESTS) throw new ParameterError([[name, `at most ${MAX_GUESTS} guests`]]);
  const ids = parts.map((part) => {
    try {
      return parseGuestId(part);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      throw new ParameterError([[name, error.message]]);
    }
  });
  return [...new Set(ids)];
}

/** Whether it asks for nothing to be pruned. */
export function keepsAll(pruneBackups: string | undefined): boolean {
  return pruneBackups === undefined || listOf(pruneBackups).every((part) => /^keep-all=(1|yes|on|true)$/.test(part));
}
