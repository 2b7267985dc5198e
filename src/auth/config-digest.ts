// Digests of configurations, so that of two administrators who change the same thing at once the second is told.
import { createHash } from 'node:crypto';
import { canonicalJson } from '../util/canonical-json.ts';
import { HoldfastError } from '../util/errors.ts';
import type { AclStore, TokenStore, UserStore } from './access-store.ts';

/** Of users and tokens together, without anything secret. SHA-256, hex. */
export function usersDigest(users: Pick<UserStore, 'list'>, tokens: Pick<TokenStore, 'list'>): string {
  return digestOf({
    users: users.list().map(({ passwordHash: _hash, ticketEpoch: _epoch, ...shown }) => shown),
    tokens: tokens.list().map(({ secretHash: _hash, ...shown }) => shown),
  });
}

export function aclDigest(acl: Pick<AclStore, 'list'>): string {
  return digestOf(acl.list());
}

/** Throws `bad-argument` in Proxmox's words when somebody changed something since. No digest is no question. */
export function requireDigest(expected: string | undefined, current: () => string): void {
  if (expected === undefined || expected === current()) return;
  throw new HoldfastError('bad-argument', 'detected modified configuration - file changed by other user? Try again.');
}

/** SHA-256, hex. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}
