// The pool that a new guest is made for: that there is one, and that the guest is in it when it was made.
import { HoldfastError } from '../../util/errors.ts';
import { ParameterError } from '../dialect/failure.ts';
import { actorOf } from '../routes/actor.ts';
import { type GuestCall, may, requirePrivilege } from './method.ts';
import type { GuestWork } from './services.ts';

/** @throws ParameterError for one that is not there. */
export function requirePool({ services }: GuestCall, pool: string | undefined): void {
  if (pool === undefined) return;
  try {
    services.pools.require(pool);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    throw new ParameterError([['pool', error.message]]);
  }
}

/** The right to make a guest: on its number, or on the pool that it is made for. @throws ApiError 403. */
export function requireMaking(call: GuestCall, vmid: number, pool: string | undefined): void {
  if (pool !== undefined && may(call, `/pool/${pool}`, 'VM.Allocate')) return;
  requirePrivilege(call, `/vms/${vmid}`, 'VM.Allocate');
}

/**
 * Of a guest that is to be made in place of one that is there: a right on a pool is none on a guest of somebody else, nor one to take it out of
 * another pool.
 * @throws ApiError 403; ParameterError.
 */
export function requireReplacing(call: GuestCall, vmid: number, pool: string | undefined): void {
  requirePrivilege(call, `/vms/${vmid}`, 'VM.Allocate');
  const before = call.services.pools.poolsOfGuests().get(vmid);
  if (pool !== undefined && before !== undefined && before !== pool)
    throw new ParameterError([['pool', `VM ${vmid} belongs already to pool '${before}'`]]);
}

/** Puts a guest that was just made into its pool; one of that number that was before it leaves it none. A pool that went meanwhile is a warning. */
export function joinPool(call: GuestCall, vmid: number, pool: string | undefined, work: GuestWork): void {
  const { pools } = call.services;
  warning(`VM ${vmid} was made, and what pool it is in was not written down`, work, () => {
    if (pool === undefined) pools.forget(actorOf(call), vmid);
    else pools.place(actorOf(call), vmid, pool);
  });
}

/** Of a guest that was destroyed, its pool and the rights on it. */
export function forgetGone(call: GuestCall, vmid: number, work: GuestWork): void {
  warning(`VM ${vmid} is gone, but not its pool and the rights on it: another VM of that number has them`, work, () => {
    call.services.pools.guestIsGone(actorOf(call), vmid);
  });
}

/** What was done to the guest is done, whatever becomes of its pool. */
function warning(what: string, work: GuestWork, change: () => void): void {
  try {
    change();
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    work.warn(`${what}: ${error.message}`);
  }
}
