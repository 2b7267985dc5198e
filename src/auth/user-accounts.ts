// Users: listing, making, changing and removing them, and their passwords. Every change is in the audit log, in the same transaction.
import { randomBytes } from 'node:crypto';
import { ROOT_USER, realmOf, type UserId, userOf } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';
import type { AccessRules } from './access-rules.ts';
import type { AclStore, TokenStore, Transactions, UserRecord, UserStore, UserTexts } from './access-store.ts';
import { checkExpire, checkTexts, requireRoom } from './account-fields.ts';
import type { Actor, AuditLog } from './audit-log.ts';
import { requireDigest, usersDigest } from './config-digest.ts';
import type { PasswordConfirmation } from './password-confirmation.ts';
import { checkNewPassword, type PasswordHashing } from './passwords.ts';
import type { AccountState } from './permissions.ts';
import type { SecondFactorStore } from './second-factor-store.ts';

/** The realm of users that are kept here. */
export const LOCAL_REALM = 'local';
/** Users that are kept here. `pbs` and `pve` are Proxmox's words for the same: its clients and people write them. */
const OWN_REALMS: readonly string[] = [LOCAL_REALM, 'pbs', 'pve'];
const MAX_USERS = 10_000;

export type TextField = keyof UserTexts;

/** What may be shown of a user. Texts are empty when not given. */
export interface UserView extends AccountState, UserTexts {
  readonly userid: UserId;
  readonly totpLocked: boolean;
  /** Unix seconds, 0 for not locked. */
  readonly tfaLockedUntil: number;
}

export interface NewUser extends Partial<AccountState>, Partial<UserTexts> {
  readonly userid: UserId;
  readonly password?: string;
}

export interface UserChanges extends Partial<AccountState>, Partial<UserTexts> {
  readonly password?: string;
  /** Texts to be emptied. */
  readonly delete?: readonly TextField[];
  readonly digest?: string;
}

export interface UserAccountParts {
  readonly users: UserStore;
  readonly tokens: Pick<TokenStore, 'list'>;
  readonly acl: Pick<AclStore, 'deleteOf' | 'list'>;
  readonly secondFactors: Pick<SecondFactorStore, 'lock'>;
  readonly transactions: Transactions;
  readonly passwords: PasswordHashing;
  readonly confirmation: PasswordConfirmation;
  readonly rules: AccessRules;
  readonly audit: Pick<AuditLog, 'append'>;
}

export class UserAccounts {
  readonly #parts: UserAccountParts;

  constructor(parts: UserAccountParts) {
    this.#parts = parts;
  }

  /** All users, or only oneself. */
  list(actor: Actor): { users: UserView[]; digest: string } {
    const seesAll = this.#parts.rules.seesUsers(actor);
    const records = this.#parts.users.list().filter(({ userid }) => seesAll || userid === actor.authId);
    return { users: records.map((record) => this.#view(record)), digest: this.digest() };
  }

  get(actor: Actor, userid: UserId): { user: UserView; digest: string } {
    this.#parts.rules.requireSeeing(actor, userid);
    return { user: this.#view(this.#find(userid)), digest: this.digest() };
  }

  async create(actor: Actor, { password, ...fields }: NewUser): Promise<void> {
    const { rules, users, transactions, passwords } = this.#parts;
    rules.requireManaging(actor, fields.userid);
    if (!OWN_REALMS.includes(realmOf(fields.userid))) throw wrongRealm(fields.userid);
    checkFields(fields);
    if (password !== undefined) checkNewPassword(password);
    const passwordHash = password === undefined ? undefined : await passwords.hash(password);
    const texts = { comment: '', firstname: '', lastname: '', email: '' };
    transactions.atomically(() => {
      if (users.find(fields.userid) !== undefined)
        throw new HoldfastError('exists', `user '${fields.userid}' already exists.`);
      requireRoom(users.list().length, MAX_USERS, 'users');
      users.insert({ enable: true, expire: 0, ...texts, ...fields, passwordHash, ticketEpoch: newEpoch() });
      this.#audit(actor, 'user-create', fields.userid, { withPassword: password !== undefined });
    });
  }

  async update(actor: Actor, userid: UserId, changes: UserChanges): Promise<void> {
    const { rules, transactions, users } = this.#parts;
    const { password, delete: emptied = [], digest, ...fields } = changes;
    rules.requireSelfOrManaging(actor, userid);
    if (fields.enable !== undefined || fields.expire !== undefined) this.#requireStateChange(actor, userid, fields);
    if (password !== undefined) this.#requireOthersPassword(actor, userid);
    checkFields(fields);
    const both = emptied.filter((name) => fields[name] !== undefined);
    if (both.length > 0) throw new HoldfastError('bad-argument', `${both.join(', ')}: either give it or delete it`);
    const passwordHash = password === undefined ? undefined : await this.#hashNew(password);
    transactions.atomically(() => {
      const record = this.#find(userid);
      requireDigest(digest, () => this.digest());
      const texts = Object.fromEntries(emptied.map((name) => [name, '']));
      const renewed = passwordHash === undefined ? {} : { passwordHash, ticketEpoch: newEpoch() };
      users.update({ ...record, ...fields, ...texts, ...renewed });
      this.#audit(actor, 'user-update', userid, { fields: [...Object.keys(fields), ...emptied] });
      if (passwordHash !== undefined) this.#audit(actor, 'password-set', userid);
    });
  }

  /** Its tokens, second factors and rights go with it, so that a later user of that name gets none of them. */
  delete(actor: Actor, userid: UserId, digest?: string): void {
    const { rules, transactions, users, tokens, acl } = this.#parts;
    rules.requireManaging(actor, userid);
    if (userid === ROOT_USER) throw new HoldfastError('protected', `${ROOT_USER} is built in and cannot be removed`);
    transactions.atomically(() => {
      if (users.find(userid) === undefined) throw new HoldfastError('not-found', `user '${userid}' does not exist.`);
      requireDigest(digest, () => this.digest());
      const owned = tokens.list(userid).map(({ name }) => name);
      for (const authId of new Set(acl.list().map((entry) => entry.authId)))
        if (userOf(authId) === userid) acl.deleteOf(authId);
      users.delete(userid);
      this.#audit(actor, 'user-delete', userid, { tokens: owned });
    });
  }

  /** Everybody may change the own password, and go on with the own tickets; a password set by another ends them. */
  async setPassword(actor: Actor, userid: UserId, password: string, confirmation?: string): Promise<void> {
    const { rules, transactions, users } = this.#parts;
    rules.requireNoToken(actor);
    rules.requireBecoming(actor, userid);
    checkNewPassword(password);
    await this.#parts.confirmation.require(actor, confirmation);
    this.#find(userid);
    const passwordHash = await this.#hashNew(password);
    transactions.atomically(() => {
      const record = this.#find(userid);
      const ticketEpoch = actor.authId === userid ? record.ticketEpoch : newEpoch();
      users.update({ ...record, passwordHash, ticketEpoch });
      this.#audit(actor, 'password-set', userid);
    });
  }

  /** Of users and tokens. */
  digest(): string {
    return usersDigest(this.#parts.users, this.#parts.tokens);
  }

  #hashNew(password: string): Promise<string> {
    checkNewPassword(password);
    return this.#parts.passwords.hash(password);
  }

  /** Not even of oneself without the right to manage users; and root@pam has no end. */
  #requireStateChange(actor: Actor, userid: UserId, { enable, expire }: Partial<AccountState>): void {
    this.#parts.rules.requireManaging(actor, userid);
    if (userid === ROOT_USER && (enable === false || (expire ?? 0) !== 0))
      throw new HoldfastError('protected', `${ROOT_USER} is built in, and can neither be disabled nor expire`);
  }

  #requireOthersPassword(actor: Actor, userid: UserId): void {
    this.#parts.rules.requireNoToken(actor);
    this.#parts.rules.requireBecoming(actor, userid);
    if (actor.authId === userid && userid !== ROOT_USER)
      throw new HoldfastError(
        'bad-argument',
        'change your own password as such, with your current one as confirmation',
      );
  }

  #find(userid: UserId): UserRecord {
    const record = this.#parts.users.find(userid);
    if (record === undefined) throw noSuchUser(userid);
    return record;
  }

  #view({ passwordHash: _hash, ticketEpoch: _epoch, ...shown }: UserRecord): UserView {
    const { totpLocked, lockedUntil } = this.#parts.secondFactors.lock(shown.userid);
    return { ...shown, totpLocked, tfaLockedUntil: lockedUntil };
  }

  #audit(
    actor: Actor,
    action: 'user-create' | 'user-update' | 'user-delete' | 'password-set',
    object: UserId,
    detail: Record<string, boolean | string[]> = {},
  ): void {
    this.#parts.audit.append({ action, by: actor.authId, address: actor.address, object, detail });
  }
}

/** Of tickets: nobody can ask for the same one again. */
function newEpoch(): string {
  return randomBytes(16).toString('hex');
}

function checkFields({ enable: _enable, expire, userid: _userid, ...texts }: Partial<NewUser>): void {
  if (expire !== undefined) checkExpire(expire);
  checkTexts(texts);
}

/** Proxmox's words. */
export function noSuchUser(userid: UserId): HoldfastError {
  return new HoldfastError('not-found', `no such user '${userid}'`);
}

function wrongRealm(userid: UserId): HoldfastError {
  return new HoldfastError(
    'bad-argument',
    `user '${userid}': realm '${realmOf(userid)}' keeps no users here; make one in realm '${LOCAL_REALM}', like ${userid.slice(0, userid.lastIndexOf('@'))}@${LOCAL_REALM}`,
  );
}
