// What the pools of both dialects have in common.
import { Type } from 'typebox';
import type { Pools } from '../../auth/pools.ts';
import type { Privilege } from '../../auth/privileges.ts';
import { MAX_POOL_ID_LENGTH, POOL_ID } from '../../schema/pool-id.ts';
import type { BaseCall } from '../method.ts';
import { actorOf } from './actor.ts';
import { LINE } from './parameters.ts';

export const PoolName = Type.String({
  pattern: POOL_ID,
  maxLength: MAX_POOL_ID_LENGTH,
  description: 'Name of a pool: up to three parts between slashes.',
});

export const PoolComment = Type.Optional(Type.String({ pattern: LINE, maxLength: 1024, description: 'One line.' }));

/** Of whoever names the pool in a parameter. */
export function onPool(privilege: Privilege) {
  return ({ poolid }: { poolid: string }) => ({ path: `/pool/${poolid}`, anyOf: [privilege] });
}

/** @throws as `Pools.create`. */
export function createPool(
  call: BaseCall & { readonly services: { readonly pools: Pick<Pools, 'create'> } },
  { poolid, comment }: { readonly poolid: string; readonly comment?: string },
): null {
  call.services.pools.create(actorOf(call), poolid, comment);
  return null;
}
