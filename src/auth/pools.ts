// Pools: making, changing and removing them, and who may. A right on a pool is one on its members (acl-rights.ts), so whoever puts something in
// or takes it out needs the right to give rights on it. The words of refusals are Proxmox VE's, which clients look for.
import type { AuthId } from '../schema/auth-id.ts';
import { requireStorageId } from '../schema/guest-names.ts';
import { type PoolId, parentPoolOf, parsePoolId, poolPath } from '../schema/pool-id.ts';
import { HoldfastError } from '../util/errors.ts';
import type { AclStore, Transactions } from './access-store.ts';
import { requireRoom } from './account-fields.ts';
import type { Actor, AuditAction, AuditLog } from './audit-log.ts';
import type { Permissions } from './permissions.ts';
import type { Pool, PoolMembers, PoolStore } from './pool-store.ts';
import type { Privilege } from './privileges.ts';

const MAX_POOLS = 1000;
/** Read whole after each change, in some 20 ms when there are so many. */
const MAX_MEMBERS = 10_000;
const MAX_COMMENT = 1024;
/** Named in a refusal. */
const MAX_NAMED_JOBS = 10;

export interface PoolChange extends Partial<PoolMembers> {
  readonly comment?: string;
  /** The named members go, and do not come. */
  readonly delete?: boolean;
  /** Guests of other pools come too, out of those. */
  readonly allowMove?: boolean;
}

export interface PoolsParts {
  readonly store: PoolStore;
  readonly acl: Pick<AclStore, 'deleteBelow'>;
  readonly transactions: Transactions;
  readonly permissions: Pick<Permissions, 'has' | 'require'>;
  readonly audit: Pick<AuditLog, 'append'>;
}

export class Pools {
  readonly #parts: PoolsParts;

  constructor(parts: PoolsParts) {
    this.#parts = parts;
  }

  /** Those that whoever asks may look at, by name. */
  list({ authId }: Actor): readonly Pool[] {
    const { store, permissions } = this.#parts;
    return store.list().filter(({ poolid }) => permissions.has(authId, poolPath(poolid), 'Pool.Audit'));
  }

  /** @throws `permission-denied`, `not-found`, `bad-name`. */
  get({ authId }: Actor, id: string): Pool {
    const poolid = this.#allowed(authId, id, 'Pool.Audit');
    return this.#there(poolid);
  }

  /** For work that has no rights of its own. @throws `not-found`, `bad-name`. */
  require(id: string): Pool {
    return this.#there(parsePoolId(id));
  }

  /** The pool of each guest that is in one; for work that has no rights of its own. */
  poolsOfGuests(): ReadonlyMap<number, PoolId> {
    return new Map(
      this.#parts.store.list().flatMap(({ poolid, vms }) => vms.map((vmid): [number, PoolId] => [vmid, poolid])),
    );
  }

  /** @throws `permission-denied`, `exists`, `not-found` for its parent, `bad-name`, `bad-argument`, `too-many`. */
  create(actor: Actor, id: string, comment = ''): void {
    const { store, transactions } = this.#parts;
    const poolid = this.#allowed(actor.authId, id, 'Pool.Allocate');
    checkComment(comment);
    transactions.atomically(() => {
      if (store.find(poolid) !== undefined) throw new HoldfastError('exists', `pool '${poolid}' already exists`);
      const parent = parentPoolOf(poolid);
      if (parent !== undefined && store.find(parent) === undefined)
        throw new HoldfastError('not-found', `parent '${parent}' of pool '${poolid}' does not exist`);
      requireRoom(store.list().length, MAX_POOLS, 'pools');
      store.insert(poolid, comment);
      this.#note('pool-create', actor, poolid, {});
    });
  }

  /**
   * All of the change or nothing.
   * @throws `permission-denied`; `not-found` for a pool, and for members to take out that are none; `exists` for members that are in already,
   * or in another pool; `bad-name`, `bad-argument`, `too-many`.
   */
  change(actor: Actor, id: string, change: PoolChange): void {
    const { store, transactions } = this.#parts;
    const { comment, delete: isRemoval = false, allowMove = false } = change;
    const poolid = this.#allowed(actor.authId, id, 'Pool.Allocate');
    if (comment !== undefined) checkComment(comment);
    const members = { vms: unique(change.vms ?? []), storages: unique(change.storages ?? []).map(requireStorageId) };
    transactions.atomically(() => {
      // All rights before any change: what is kept of rights must never be read off a change that does not come to be.
      this.#requireGiving(actor.authId, members);
      const pool = this.#there(poolid);
      if (isRemoval) requireIn(pool, members);
      else this.#requireComing(actor.authId, pool, members, allowMove);
      if (comment !== undefined) store.setComment(poolid, comment);
      for (const vmid of members.vms) {
        if (isRemoval) store.takeGuest(vmid);
        else store.putGuest(poolid, vmid);
      }
      for (const storage of members.storages) {
        if (isRemoval) store.takeStorage(poolid, storage);
        else store.putStorage(poolid, storage);
      }
      this.#note('pool-update', actor, poolid, {
        ...(comment !== undefined && { comment }),
        ...(members.vms.length > 0 && { vms: members.vms.join(',') }),
        ...(members.storages.length > 0 && { storage: members.storages.join(',') }),
        ...(isRemoval && { delete: true }),
      });
    });
  }

  /**
   * Removes an empty pool, and the rights that stood on it. `isThere` says whether a member still is: what is gone keeps no pool.
   * @throws `permission-denied`, `not-found`, `bad-name`; `protected` for one with members, with pools in it, or that jobs name.
   */
  delete(actor: Actor, id: string, isThere: (member: number | string) => boolean = () => true): void {
    const { store, acl, transactions } = this.#parts;
    const poolid = this.#allowed(actor.authId, id, 'Pool.Allocate');
    transactions.atomically(() => {
      const pool = this.#there(poolid);
      const below = store.list().find((each) => each.poolid.startsWith(`${poolid}/`));
      if (below !== undefined) throw notEmpty(poolid, `pool '${below.poolid}'`);
      const vmid = pool.vms.find(isThere);
      if (vmid !== undefined) throw notEmpty(poolid, `VM ${vmid}`);
      const storage = pool.storages.find(isThere);
      if (storage !== undefined) throw notEmpty(poolid, `storage '${storage}'`);
      const jobs = store.jobsOf(poolid);
      if (jobs.length > 0) throw isNamed(poolid, jobs);
      store.delete(poolid);
      // Whoever makes a pool of that name later gives its rights anew.
      acl.deleteBelow(poolPath(poolid));
      this.#note('pool-delete', actor, poolid, {});
    });
  }

  /** Puts a guest that was just made into the pool that it was made for. Whether the actor may was asked before. @throws `not-found`. */
  place(actor: Actor, vmid: number, id: string): void {
    const { store, transactions } = this.#parts;
    const poolid = parsePoolId(id);
    transactions.atomically(() => {
      this.#there(poolid);
      if (store.poolOf(vmid) === poolid) return;
      requireRoom(store.memberCount(), MAX_MEMBERS, 'members of pools');
      store.putGuest(poolid, vmid);
      this.#note('pool-update', actor, poolid, { vms: String(vmid) });
    });
  }

  /** A guest that was destroyed: another one of that number inherits neither its pool nor the rights that stood on it. */
  guestIsGone(actor: Actor, vmid: number): void {
    const { acl, audit, transactions } = this.#parts;
    const object = `/vms/${vmid}`;
    transactions.atomically(() => {
      this.forget(actor, vmid);
      const entries = acl.deleteBelow(object);
      const { authId: by, address } = actor;
      if (entries > 0) audit.append({ action: 'acl-delete', by, address, object, detail: { entries } });
    });
  }

  /** Takes a guest out of the pool that it is in, if any. */
  forget(actor: Actor, vmid: number): void {
    const { store, transactions } = this.#parts;
    if (store.poolOf(vmid) === undefined) return;
    transactions.atomically(() => {
      const poolid = store.poolOf(vmid);
      if (poolid === undefined) return;
      store.takeGuest(vmid);
      this.#note('pool-update', actor, poolid, { vms: String(vmid), delete: true });
    });
  }

  /** In the same words whether the pool is there or not. */
  #allowed(authId: AuthId, id: string, privilege: Privilege): PoolId {
    const poolid = parsePoolId(id);
    this.#parts.permissions.require(authId, poolPath(poolid), privilege);
    return poolid;
  }

  #there(poolid: PoolId): Pool {
    const pool = this.#parts.store.find(poolid);
    if (pool === undefined) throw noSuchPool(poolid);
    return pool;
  }

  #requireGiving(authId: AuthId, { vms, storages }: PoolMembers): void {
    const { permissions } = this.#parts;
    for (const vmid of vms) permissions.require(authId, `/vms/${vmid}`, 'Permissions.Modify', 'VM.Allocate');
    for (const storage of storages)
      permissions.require(authId, `/storage/${storage}`, 'Permissions.Modify', 'Datastore.Allocate');
  }

  #requireComing(authId: AuthId, pool: Pool, { vms, storages }: PoolMembers, allowMove: boolean): void {
    const { store, permissions } = this.#parts;
    for (const vmid of vms) {
      if (pool.vms.includes(vmid)) throw new HoldfastError('exists', `VM ${vmid} is already a pool member`);
      const before = store.poolOf(vmid);
      if (before === undefined) continue;
      if (!allowMove)
        throw new HoldfastError('exists', `VM ${vmid} belongs already to pool '${before}' and allow-move is not set`);
      permissions.require(authId, poolPath(before), 'Pool.Allocate');
    }
    const storage = storages.find((each) => pool.storages.includes(each));
    if (storage !== undefined) throw new HoldfastError('exists', `Storage '${storage}' is already a pool member`);
    requireRoom(store.memberCount() + vms.length + storages.length - 1, MAX_MEMBERS, 'members of pools');
  }

  #note(action: AuditAction, actor: Actor, poolid: PoolId, detail: Record<string, string | boolean>): void {
    const { authId: by, address } = actor;
    this.#parts.audit.append({ action, by, address, object: poolPath(poolid), detail });
  }
}

export function noSuchPool(pool: string): HoldfastError {
  return new HoldfastError('not-found', `pool '${pool}' does not exist`);
}

function requireIn(pool: Pool, { vms, storages }: PoolMembers): void {
  const vmid = vms.find((each) => !pool.vms.includes(each));
  if (vmid !== undefined) throw new HoldfastError('not-found', `VM ${vmid} is not a pool member`);
  const storage = storages.find((each) => !pool.storages.includes(each));
  if (storage !== undefined) throw new HoldfastError('not-found', `Storage '${storage}' is not a pool member`);
}

function notEmpty(poolid: PoolId, what: string): HoldfastError {
  return new HoldfastError('protected', `pool '${poolid}' is not empty (contains ${what}): take that out first`);
}

function isNamed(poolid: PoolId, jobs: readonly string[]): HoldfastError {
  const more = jobs.length > MAX_NAMED_JOBS ? ` and ${jobs.length - MAX_NAMED_JOBS} more` : '';
  const named = jobs.slice(0, MAX_NAMED_JOBS).join(', ');
  return new HoldfastError(
    'protected',
    `pool '${poolid}' is backed up by jobs: ${named}${more}; change or remove them first`,
    { data: { jobs } },
  );
}

/** One line. */
function checkComment(comment: string): void {
  if (comment.length <= MAX_COMMENT && !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(comment)) return;
  throw new HoldfastError('bad-argument', `comment: write one line of at most ${MAX_COMMENT} characters`);
}

function unique<Member>(members: readonly Member[]): Member[] {
  return [...new Set(members)];
}
