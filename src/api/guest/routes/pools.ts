// /pools: guests and storages under a name, on which rights and backup jobs can stand. A name with slashes is given as a parameter.
import { type Static, Type } from 'typebox';
import type { Pool } from '../../../auth/pool-store.ts';
import { ParameterError } from '../../dialect/failure.ts';
import { actorOf } from '../../routes/actor.ts';
import { createPool, onPool, PoolComment, PoolName } from '../../routes/pool-parts.ts';
import { defineGuestMethod, type GuestCall, LIST_ANSWER_MS, requirePrivilege } from '../method.ts';
import { guestRow, Resource, storageRow } from './cluster/resource-rows.ts';
import { guestIds, vmidList } from './nodes/dump-parameters.ts';
import { given, listOf, Nothing, STORAGE_NAME } from './parameters.ts';

const PATH = '/pools';
const MAX_STORAGES = 1000;
const IS_STORAGE = new RegExp(STORAGE_NAME);

const MemberType = Type.Optional(Type.Enum(['qemu', 'lxc', 'storage'], { description: 'Only such members.' }));
const Members = Type.Array(Resource);
const Change = Type.Object({
  poolid: PoolName,
  comment: PoolComment,
  vms: vmidList('Guests that come, or go, between commas.'),
  storage: Type.Optional(Type.String({ maxLength: 65_536, description: 'Storages that come, or go, between commas.' })),
  delete: Type.Boolean({ default: false, description: 'They go, and do not come.' }),
  'allow-move': Type.Boolean({ default: false, description: 'Guests of other pools come out of those.' }),
});
const CHANGES =
  'Changes the comment of a pool, or its members, with the right to give rights on each of those (Permissions.Modify, VM.Allocate of a guest, Datastore.Allocate of a storage).';

export const POOL_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: PATH,
    description: 'The pools that the caller may look at; with `poolid` that one, with its members.',
    access: { auth: true },
    parameters: Type.Object({ poolid: Type.Optional(PoolName), type: MemberType }),
    returns: Type.Array(
      Type.Object({
        poolid: Type.String(),
        comment: Type.Optional(Type.String()),
        members: Type.Optional(Members),
      }),
    ),
    handler: async (call, { poolid, type }) => {
      const { pools } = call.services;
      if (poolid === undefined) {
        if (type !== undefined) throw new ParameterError([['type', "goes with 'poolid'"]]);
        return pools.list(actorOf(call)).map((pool) => ({ poolid: pool.poolid, ...commentOf(pool) }));
      }
      const pool = pools.get(actorOf(call), poolid);
      return [{ poolid, ...commentOf(pool), members: await membersOf(call, pool, type) }];
    },
  }),
  defineGuestMethod({
    method: 'POST',
    path: PATH,
    description: 'Makes a pool; the pool that it is to be within is there already.',
    access: onPool('Pool.Allocate'),
    parameters: Type.Object({ poolid: PoolName, comment: PoolComment }),
    returns: Nothing,
    handler: createPool,
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/{poolid}`,
    description: 'One pool with its members.',
    access: onPool('Pool.Audit'),
    parameters: Type.Object({ poolid: PoolName, type: MemberType }),
    returns: Type.Object({ comment: Type.Optional(Type.String()), members: Members }),
    handler: async (call, { poolid, type }) => {
      const pool = call.services.pools.get(actorOf(call), poolid);
      return { ...commentOf(pool), members: await membersOf(call, pool, type) };
    },
  }),
  // A name with slashes is a parameter, one without may be in the path.
  ...[PATH, `${PATH}/{poolid}`].flatMap((path) => [
    defineGuestMethod({
      method: 'PUT',
      path,
      description: CHANGES,
      access: onPool('Pool.Allocate'),
      parameters: Change,
      returns: Nothing,
      handler: changePool,
    }),
    defineGuestMethod({
      method: 'DELETE',
      path,
      description: 'Removes a pool that nothing is in and that no job names, with the rights on it.',
      access: onPool('Pool.Allocate'),
      parameters: Type.Object({ poolid: PoolName }),
      returns: Nothing,
      handler: removePool,
    }),
  ]),
];

/** What is not there any more is no member. */
async function membersOf(
  call: GuestCall,
  { poolid, vms, storages }: Pool,
  type: Static<typeof MemberType> | undefined,
): Promise<Resource[]> {
  const [guests, named] = [new Set(vms), new Set(storages)];
  const isWanted = (kind: typeof type): boolean => type === undefined || type === kind;
  const [guestRows, storageRows] = await Promise.all([
    isWanted('qemu') ? call.services.guests.list(LIST_ANSWER_MS) : [],
    isWanted('storage') ? call.services.storages.list() : [],
  ]);
  const members = guestRows.filter(({ vmid }) => guests.has(vmid)).sort((one, other) => one.vmid - other.vmid);
  const rooms = storageRows.filter(({ storage }) => named.has(storage));
  return [
    ...members.map((vm) => guestRow(call, vm, poolid)),
    ...(await Promise.all(rooms.map(async (each) => await storageRow(call, each)))),
  ];
}

async function changePool(call: GuestCall, change: Static<typeof Change>): Promise<null> {
  const { poolid, comment, delete: isRemoval, 'allow-move': allowMove } = change;
  const vms = guestIds('vms', change.vms);
  const storages = storageNames(change.storage);
  if (!isRemoval) await requireThere(call, vms, storages);
  call.services.pools.change(actorOf(call), poolid, {
    ...{ vms, storages, delete: isRemoval, allowMove },
    ...given({ comment }),
  });
  return null;
}

async function removePool(call: GuestCall, { poolid }: { readonly poolid: string }): Promise<null> {
  const { guests, storages, pools } = call.services;
  const { vms, storages: named } = pools.require(poolid);
  const gone = new Set<number | string>(named);
  for (const { storage } of await storages.list()) gone.delete(storage);
  for (const vmid of vms) if (!(await guests.exists(vmid))) gone.add(vmid);
  // What comes meanwhile is there.
  pools.delete(actorOf(call), poolid, (member) => !gone.has(member));
  return null;
}

/** A number that no guest has would be the pool's when somebody takes it. @throws ApiError 403; ParameterError. */
async function requireThere(call: GuestCall, vms: readonly number[], storages: readonly string[]): Promise<void> {
  for (const vmid of vms) {
    requirePrivilege(call, `/vms/${vmid}`, 'Permissions.Modify', 'VM.Allocate');
    if (!(await call.services.guests.exists(vmid))) throw new ParameterError([['vms', `VM ${vmid} does not exist`]]);
  }
  if (storages.length === 0) return;
  const there = new Set((await call.services.storages.list()).map(({ storage }) => storage));
  for (const storage of storages) {
    requirePrivilege(call, `/storage/${storage}`, 'Permissions.Modify', 'Datastore.Allocate');
    if (!there.has(storage)) throw new ParameterError([['storage', `storage '${storage}' does not exist`]]);
  }
}

/** @throws ParameterError. */
function storageNames(text: string | undefined): string[] {
  const names = listOf(text);
  if (names.length > MAX_STORAGES) throw new ParameterError([['storage', `at most ${MAX_STORAGES} storages`]]);
  const wrong = names.find((name) => !IS_STORAGE.test(name));
  if (wrong !== undefined) throw new ParameterError([['storage', `'${wrong.slice(0, 100)}' is no name of a storage`]]);
  return names;
}

function commentOf({ comment }: Pool): { comment?: string } {
  return comment === '' ? {} : { comment };
}
