// API tokens: a user's keys for programs, with rights of their own that never pass the user's. A secret is shown once and kept as a hash.
import { type AuthId, parseTokenName, tokenIdOf, type UserId } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';
import type { AccessRules } from './access-rules.ts';
import type { AclStore, TokenRecord, TokenStore, Transactions, UserStore } from './access-store.ts';
import { checkExpire, checkTexts, requireRoom } from './account-fields.ts';
import { newTokenSecret, tokenSecretHash } from './api-token.ts';
import type { Actor, AuditLog } from './audit-log.ts';
import { requireDigest, usersDigest } from './config-digest.ts';
import type { AccountState } from './permissions.ts';
import { noSuchUser } from './user-accounts.ts';

const MAX_TOKENS_A_USER = 256;

export interface TokenView extends AccountState {
  readonly tokenid: AuthId;
  readonly tokenName: string;
  readonly comment: string;
}

export interface TokenFields extends Partial<AccountState> {
  readonly comment?: string;
  readonly digest?: string;
}

export interface TokenChanges extends TokenFields {
  /** Makes a new secret; the old one ends. */
  readonly regenerate?: boolean;
  readonly deleteComment?: boolean;
}

export interface TokenAccountParts {
  readonly users: Pick<UserStore, 'find' | 'list'>;
  readonly tokens: TokenStore;
  readonly acl: Pick<AclStore, 'deleteOf'>;
  readonly transactions: Transactions;
  readonly rules: AccessRules;
  readonly audit: Pick<AuditLog, 'append'>;
}

export class TokenAccounts {
  readonly #parts: TokenAccountParts;

  constructor(parts: TokenAccountParts) {
    this.#parts = parts;
  }

  list(actor: Actor, userid: UserId): { tokens: TokenView[]; digest: string } {
    this.#parts.rules.requireSeeing(actor, userid);
    this.#requireUser(userid);
    return { tokens: this.#parts.tokens.list(userid).map(viewOf), digest: this.#digest() };
  }

  get(actor: Actor, userid: UserId, name: string): { token: TokenView; digest: string } {
    this.#parts.rules.requireSeeing(actor, userid);
    return { token: viewOf(this.#find(userid, name)), digest: this.#digest() };
  }

  /** `value` is the secret, shown this once. */
  create(actor: Actor, userid: UserId, name: string, fields: TokenFields = {}): { tokenid: AuthId; value: string } {
    const { rules, tokens, transactions } = this.#parts;
    rules.requireSelfOrManaging(actor, userid);
    parseTokenName(name);
    checkFields(fields);
    const value = newTokenSecret();
    transactions.atomically(() => {
      this.#requireUser(userid);
      requireDigest(fields.digest, () => this.#digest());
      if (tokens.find(userid, name) !== undefined)
        throw new HoldfastError('exists', `token '${name}' for user '${userid}' already exists.`);
      requireRoom(tokens.list(userid).length, MAX_TOKENS_A_USER, `tokens of ${userid}`);
      const { enable = true, expire = 0, comment = '' } = fields;
      tokens.insert({ userid, name, enable, expire, comment, secretHash: tokenSecretHash(value) });
      this.#audit(actor, 'token-create', userid, name, {});
    });
    return { tokenid: tokenIdOf(userid, name), value };
  }

  /** Returns the new secret when one was asked for. */
  update(actor: Actor, userid: UserId, name: string, changes: TokenChanges): string | undefined {
    const { rules, tokens, transactions } = this.#parts;
    rules.requireSelfOrManaging(actor, userid);
    const { regenerate = false, deleteComment = false, digest, ...fields } = changes;
    if (regenerate) rules.requireBecoming(actor, userid);
    checkFields(fields);
    const value = regenerate ? newTokenSecret() : undefined;
    transactions.atomically(() => {
      const record = this.#find(userid, name);
      requireDigest(digest, () => this.#digest());
      const emptied = deleteComment ? { comment: '' } : {};
      const renewed = value === undefined ? {} : { secretHash: tokenSecretHash(value) };
      tokens.update({ ...record, ...fields, ...emptied, ...renewed });
      this.#audit(actor, 'token-update', userid, name, { fields: Object.keys({ ...fields, ...emptied }), regenerate });
    });
    return value;
  }

  /** Its rights go with it. */
  delete(actor: Actor, userid: UserId, name: string, digest?: string): void {
    const { rules, tokens, acl, transactions } = this.#parts;
    rules.requireSelfOrManaging(actor, userid);
    transactions.atomically(() => {
      this.#find(userid, name);
      requireDigest(digest, () => this.#digest());
      acl.deleteOf(tokenIdOf(userid, name));
      tokens.delete(userid, name);
      this.#audit(actor, 'token-delete', userid, name, {});
    });
  }

  #find(userid: UserId, name: string): TokenRecord {
    this.#requireUser(userid);
    const record = this.#parts.tokens.find(userid, name);
    if (record === undefined) throw noSuchToken(userid, name);
    return record;
  }

  #requireUser(userid: UserId): void {
    if (this.#parts.users.find(userid) === undefined) throw noSuchUser(userid);
  }

  #digest(): string {
    return usersDigest(this.#parts.users, this.#parts.tokens);
  }

  #audit(
    actor: Actor,
    action: 'token-create' | 'token-update' | 'token-delete',
    userid: UserId,
    name: string,
    detail: Record<string, boolean | string[]>,
  ): void {
    const object = tokenIdOf(userid, name);
    this.#parts.audit.append({ action, by: actor.authId, address: actor.address, object, detail });
  }
}

function checkFields({ expire, comment }: TokenFields): void {
  if (expire !== undefined) checkExpire(expire);
  if (comment !== undefined) checkTexts({ comment });
}

function viewOf({ userid, name, secretHash: _hash, ...shown }: TokenRecord): TokenView {
  return { ...shown, tokenid: tokenIdOf(userid, name), tokenName: name };
}

export function noSuchToken(userid: UserId, name: string): HoldfastError {
  return new HoldfastError('not-found', `no such token '${parseTokenName(name)}' for user '${userid}'`);
}
