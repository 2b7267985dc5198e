// /config/pool: pools as the command line changes them from afar. Clients of Proxmox VE have /pools of the guest dialect, with members that are
// there now; here is what is written down. Names have slashes, so they are parameters.
import { Type } from 'typebox';
import type { Pool } from '../../../auth/pool-store.ts';
import { defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { Nothing } from '../parameters.ts';
import { createPool, onPool, PoolComment, PoolName } from '../pool-parts.ts';

const PATH = '/config/pool';
/** In one change. */
const MAX_MEMBERS = 1000;
const Guests = Type.Optional(
  Type.Array(Type.Integer({ minimum: 100, maximum: 999_999_999 }), {
    maxItems: MAX_MEMBERS,
    description: 'Guests that come, or go.',
  }),
);
const Storages = Type.Optional(
  Type.Array(Type.String({ maxLength: 100 }), { maxItems: MAX_MEMBERS, description: 'Storages that come, or go.' }),
);

function rowOf({ poolid, comment, vms, storages }: Pool) {
  return { poolid, comment, vms: [...vms], storage: [...storages] };
}

export const POOL_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description: 'The pools that the caller may look at, with their members; with `poolid` that one.',
    access: { auth: true },
    parameters: Type.Object({ poolid: Type.Optional(PoolName) }),
    returns: Type.Array(
      Type.Object({
        poolid: Type.String(),
        comment: Type.String(),
        vms: Type.Array(Type.Integer()),
        storage: Type.Array(Type.String()),
      }),
    ),
    handler: (call, { poolid }) => {
      const { pools } = call.services;
      const actor = actorOf(call);
      return (poolid === undefined ? pools.list(actor) : [pools.get(actor, poolid)]).map(rowOf);
    },
  }),
  defineMethod({
    method: 'POST',
    path: PATH,
    description: 'Makes a pool; the pool that it is to be within is there already.',
    access: onPool('Pool.Allocate'),
    parameters: Type.Object({ poolid: PoolName, comment: PoolComment }),
    returns: Nothing,
    handler: createPool,
  }),
  defineMethod({
    method: 'PUT',
    path: PATH,
    description: 'Changes the comment of a pool, or its members, with the right to give rights on each of those.',
    access: onPool('Pool.Allocate'),
    parameters: Type.Object({
      poolid: PoolName,
      comment: PoolComment,
      vms: Guests,
      storage: Storages,
      delete: Type.Boolean({ default: false, description: 'They go, and do not come.' }),
      'allow-move': Type.Boolean({ default: false, description: 'Guests of other pools come out of those.' }),
    }),
    returns: Nothing,
    handler: (call, { poolid, comment, vms = [], storage = [], delete: isRemoval, 'allow-move': allowMove }) => {
      const members = { vms, storages: storage, delete: isRemoval, allowMove };
      call.services.pools.change(actorOf(call), poolid, { ...members, ...(comment !== undefined && { comment }) });
      return null;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: PATH,
    description: 'Removes a pool that nothing is in and that no job names, with the rights on it.',
    access: onPool('Pool.Allocate'),
    parameters: Type.Object({ poolid: PoolName }),
    returns: Nothing,
    handler: (call, { poolid }) => {
      call.services.pools.delete(actorOf(call), poolid);
      return null;
    },
  }),
];
