// The grammar of the names of pools, Proxmox VE's: up to three parts between slashes, a pool within a pool within a pool.
import { HoldfastError } from '../util/errors.ts';

/** One part of a name: what a URL would take for a way up is none. */
const PART = '(?!\\.{1,2}(?:/|$))[A-Za-z0-9._-]+';
/** For schemas. */
export const POOL_ID = `^${PART}(?:/${PART}){0,2}$`;
export const MAX_POOL_ID_LENGTH = 128;

const IS_POOL_ID = new RegExp(POOL_ID);

declare const poolBrand: unique symbol;

/** `office`, `office/web`, `office/web/shop`. */
export type PoolId = string & { readonly [poolBrand]: true };

/** @throws `bad-name`. */
export function parsePoolId(text: string): PoolId {
  if (IS_POOL_ID.test(text) && text.length <= MAX_POOL_ID_LENGTH) return text as PoolId;
  throw new HoldfastError(
    'bad-name',
    `'${text.slice(0, MAX_POOL_ID_LENGTH).replace(/[^\x20-\x7e]/g, '?')}' is no name of a pool: write up to three parts of letters, digits, '.', '_' and '-' with '/' between them, at most ${MAX_POOL_ID_LENGTH} characters`,
  );
}

/** The pool that it is within; undefined for one that is within none. */
export function parentPoolOf(poolid: PoolId): PoolId | undefined {
  const cut = poolid.lastIndexOf('/');
  return cut < 0 ? undefined : (poolid.slice(0, cut) as PoolId);
}

/** Where rights on a pool stand. */
export function poolPath(poolid: PoolId): string {
  return `/pool/${poolid}`;
}
