// What a call may see of a datastore: with a right to all of it everything, with a right to own backups those that the caller owns. What it may
// not see answers like what is not there.
import type { AuthId } from '../../schema/auth-id.ts';
import { tokenNameOf, userOf } from '../../schema/auth-id.ts';
import { formatTime, type GroupName, type Namespace, parseGroup, parseNamespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { ApiError } from '../dialect/failure.ts';
import { type Call, callerOf } from '../method.ts';
import type { OpenDatastore, PermissionCalls } from '../services.ts';
import type { GroupView, SnapshotView } from './snapshot-views.ts';

/** A user owns what its tokens own; a token does not own what its user does. */
export function owns(authId: AuthId, owner: string | undefined): boolean {
  if (owner === undefined) return false;
  if (owner === authId) return true;
  return tokenNameOf(authId) === undefined && userOf(owner as AuthId) === authId;
}

/** `/datastore/STORE/NS`. */
export function aclPath({ store, ns }: { readonly store: string; readonly ns?: string | undefined }): string {
  return ns === undefined || ns === '' ? `/datastore/${store}` : `/datastore/${store}/${ns}`;
}

/** A datastore by its name, in the words of the dialect when there is none or it is offline. */
export async function openStore({ services }: Pick<Call, 'services'>, name: string): Promise<OpenDatastore> {
  try {
    return await services.datastores.get(name);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error.code === 'not-found') throw noSuchStore(name);
    if (error.code !== 'datastore-maintenance') throw error;
    throw unavailable(name, error.data);
  }
}

export function noSuchStore(name: string): ApiError {
  return new ApiError(400, 'not-found', `no such datastore '${name}'`);
}

export function unavailable(name: string, { mode, message }: Readonly<Record<string, unknown>>): ApiError {
  const why = typeof message === 'string' && message !== '' ? `: ${message}` : '';
  return new ApiError(
    400,
    'datastore-maintenance',
    `datastore '${name}' is unavailable: ${String(mode ?? 'offline')} maintenance mode${why}`,
  );
}

/** Runs what changes a datastore; a maintenance mode that forbids it is said in the words of the dialect. */
export async function changing<Result>(name: string, change: () => Promise<Result>): Promise<Result> {
  try {
    return await change();
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'datastore-maintenance') throw unavailable(name, error.data);
    throw error;
  }
}

interface OfNamespace {
  readonly store: string;
  readonly ns?: string | undefined;
}
interface OfGroup extends OfNamespace {
  readonly 'backup-type': string;
  readonly 'backup-id': string;
}
interface OfSnapshot extends OfGroup {
  readonly 'backup-time': number;
}

export interface FoundNamespace {
  readonly open: OpenDatastore;
  readonly view: SnapshotView;
  readonly ns: Namespace;
}
export interface FoundGroup extends FoundNamespace {
  readonly group: GroupView;
}
export interface FoundSnapshot extends FoundGroup {
  readonly name: { readonly ns: Namespace; readonly group: GroupName; readonly time: number };
}

/** @throws ApiError 400 when the namespace is not there. */
export async function findNamespace(call: Call, { store, ns: text }: OfNamespace): Promise<FoundNamespace> {
  const open = await openStore(call, store);
  const view = call.views.of(open.store);
  const ns = parseNamespace(text ?? '');
  if (!view.hasNamespace(ns)) {
    throw new ApiError(
      400,
      'not-found',
      `no such namespace '${ns}' in datastore '${store}': No such file or directory`,
    );
  }
  return { open, view, ns };
}

/** The groups that the call may see, those without a snapshot too. */
export async function visibleGroups(call: Call, { view, ns }: FoundNamespace): Promise<readonly GroupView[]> {
  const groups = await view.groups(ns);
  if (!call.onlyOwn) return groups;
  const caller = callerOf(call);
  return groups.filter(({ owner }) => owns(caller, owner));
}

/** @throws ApiError 400 when the group is not there, or is somebody else's. */
export async function findGroup(call: Call, where: OfGroup): Promise<FoundGroup> {
  const found = await findNamespace(call, where);
  const name = parseGroup(`${where['backup-type']}/${where['backup-id']}`);
  const group = await found.view.group(found.ns, name);
  if (group === undefined || (call.onlyOwn && !owns(callerOf(call), group.owner))) throw noSuchGroup(name);
  return { ...found, group };
}

/** @throws ApiError 400 when the snapshot is not there, or is somebody else's. */
export async function findSnapshot(call: Call, where: OfSnapshot): Promise<FoundSnapshot> {
  const group = parseGroup(`${where['backup-type']}/${where['backup-id']}`);
  const time = where['backup-time'];
  const found = await findGroup(call, where).catch((error: unknown) => {
    // One answer for all that is not there: a group that exists is not to be told from one that does not.
    throw isNoSuchGroup(error) ? noSuchSnapshot(group, time) : error;
  });
  if (!found.group.times.includes(time)) throw noSuchSnapshot(group, time);
  return { ...found, name: { ns: found.ns, group, time } };
}

class NoSuchGroup extends ApiError {}

function noSuchGroup(group: GroupName): ApiError {
  return new NoSuchGroup(400, 'not-found', `no such group '${group}': No such file or directory`);
}

function isNoSuchGroup(error: unknown): boolean {
  return error instanceof NoSuchGroup;
}

export function noSuchSnapshot(group: GroupName, time: number): ApiError {
  return new ApiError(400, 'not-found', `no such snapshot '${group}/${formatTime(time)}': No such file or directory`);
}

/** Whether anything of a datastore may be seen, so that it stands in lists. */
export function seesStore(permissions: PermissionCalls, authId: AuthId, store: string): boolean {
  const path = aclPath({ store });
  return (
    ['Datastore.Audit', 'Datastore.Backup', 'Datastore.Read', 'Datastore.Modify', 'Datastore.Prune'] as const
  ).some((privilege) => permissions.hasBelow(authId, path, privilege));
}
