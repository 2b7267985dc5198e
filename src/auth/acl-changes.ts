// The list of rights: showing it, giving a role to a user or a token on a path, and taking it away.
import { type AuthId, tokenNameOf, userOf } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';
import type { AccessRules } from './access-rules.ts';
import type { AclStore, StoredAclEntry, TokenStore, Transactions, UserStore } from './access-store.ts';
import { requireRoom } from './account-fields.ts';
import { isAtOrBelow, parseAclPath } from './acl-path.ts';
import type { Actor, AuditLog } from './audit-log.ts';
import { aclDigest, requireDigest } from './config-digest.ts';
import { isRoleName, ROLES } from './privileges.ts';
import { noSuchToken } from './token-accounts.ts';
import { noSuchUser } from './user-accounts.ts';

const MAX_ENTRIES = 50_000;

export interface AclChange {
  readonly path: string;
  readonly role: string;
  readonly authId: AuthId;
  /** Whether it holds below the path too; true when not given. */
  readonly propagate?: boolean;
  /** Takes the entry away; one that is not there is no error. */
  readonly delete?: boolean;
  readonly digest?: string;
}

export interface AclQuery {
  readonly path?: string;
  /** Entries of the path alone, not of those below. */
  readonly exact?: boolean;
}

export interface AclChangesParts {
  readonly acl: AclStore;
  readonly users: Pick<UserStore, 'find'>;
  readonly tokens: Pick<TokenStore, 'find'>;
  readonly transactions: Transactions;
  readonly rules: AccessRules;
  readonly audit: Pick<AuditLog, 'append'>;
}

export class AclChanges {
  readonly #parts: AclChangesParts;

  constructor(parts: AclChangesParts) {
    this.#parts = parts;
  }

  /** All entries, or those of oneself and the own tokens. */
  list(actor: Actor, { path = '/', exact = false }: AclQuery = {}): { entries: StoredAclEntry[]; digest: string } {
    const { rules, acl } = this.#parts;
    parseAclPath(path);
    const seesAll = rules.seesAcl(actor);
    const isShown = (entry: StoredAclEntry): boolean =>
      (exact ? entry.path === path : isAtOrBelow(entry.path, path)) &&
      (seesAll || entry.authId === actor.authId || userOf(entry.authId) === actor.authId);
    const all = acl.list();
    return { entries: all.filter(isShown), digest: aclDigest(acl) };
  }

  change(actor: Actor, { path, role, authId, propagate = true, delete: remove = false, digest }: AclChange): void {
    const { rules, acl, transactions, audit } = this.#parts;
    parseAclPath(path);
    if (!isRoleName(role)) throw noSuchRole();
    rules.requireAclChange(actor, path, authId);
    transactions.atomically(() => {
      requireDigest(digest, () => aclDigest(acl));
      if (remove) {
        acl.delete({ path, role, authId });
      } else {
        this.#requireThere(authId);
        requireRoom(acl.list().length, MAX_ENTRIES, 'entries in the list of rights');
        acl.set({ path, role, authId, propagate });
      }
      audit.append({
        action: remove ? 'acl-delete' : 'acl-set',
        by: actor.authId,
        address: actor.address,
        object: path,
        detail: remove ? { role, authId } : { role, authId, propagate },
      });
    });
  }

  #requireThere(authId: AuthId): void {
    const user = userOf(authId);
    const tokenName = tokenNameOf(authId);
    if (this.#parts.users.find(user) === undefined) throw noSuchUser(user);
    if (tokenName !== undefined && this.#parts.tokens.find(user, tokenName) === undefined)
      throw noSuchToken(user, tokenName);
  }
}

function noSuchRole(): HoldfastError {
  return new HoldfastError('bad-argument', `no such role; the roles are ${Object.keys(ROLES).join(', ')}`);
}
