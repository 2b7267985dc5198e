// Users, API tokens, rights and second factors, for the API and the command line: one face of the parts that do it. Each call says who asks;
// the rules are checked here, so that no caller can forget them.
import { type AuthId, type UserId, userOf } from '../schema/auth-id.ts';
import type { AccessRules } from './access-rules.ts';
import type { AclChange, AclChanges, AclQuery } from './acl-changes.ts';
import { parseAclPath } from './acl-path.ts';
import type { Rights } from './acl-rights.ts';
import { type Actor, AUDIT_PAGE, type AuditEntry, type AuditLog, type AuditQuery } from './audit-log.ts';
import type { Permissions } from './permissions.ts';
import type { NewTotp, TfaEnrolment } from './tfa-enrolment.ts';
import type { TokenAccounts, TokenChanges, TokenFields } from './token-accounts.ts';
import type { NewUser, UserAccounts, UserChanges } from './user-accounts.ts';

export interface AccessParts {
  readonly users: UserAccounts;
  readonly tokens: TokenAccounts;
  readonly acl: AclChanges;
  readonly tfa: TfaEnrolment;
  readonly rules: AccessRules;
  readonly permissions: Permissions;
  readonly audit: Pick<AuditLog, 'list'>;
}

export class Access {
  readonly #parts: AccessParts;

  constructor(parts: AccessParts) {
    this.#parts = parts;
  }

  /** All users, or only oneself, by who asks. */
  listUsers(actor: Actor) {
    return this.#parts.users.list(actor);
  }

  getUser(actor: Actor, userid: UserId) {
    return this.#parts.users.get(actor, userid);
  }

  createUser(actor: Actor, user: NewUser): Promise<void> {
    return this.#parts.users.create(actor, user);
  }

  updateUser(actor: Actor, userid: UserId, changes: UserChanges): Promise<void> {
    return this.#parts.users.update(actor, userid, changes);
  }

  deleteUser(actor: Actor, userid: UserId, digest?: string): void {
    this.#parts.users.delete(actor, userid, digest);
  }

  /** `confirmation` is the own current password of who asks; root@pam needs none. */
  setPassword(actor: Actor, userid: UserId, password: string, confirmation?: string): Promise<void> {
    return this.#parts.users.setPassword(actor, userid, password, confirmation);
  }

  listTokens(actor: Actor, userid: UserId) {
    return this.#parts.tokens.list(actor, userid);
  }

  getToken(actor: Actor, userid: UserId, name: string) {
    return this.#parts.tokens.get(actor, userid, name);
  }

  /** @throws `permission-denied` for whoever may not make tokens of the user. */
  requireTokenMaking(actor: Actor, userid: UserId): void {
    this.#parts.rules.requireSelfOrManaging(actor, userid);
    this.#parts.users.get(actor, userid);
  }

  /** The secret in `value` is shown this once. */
  createToken(actor: Actor, userid: UserId, name: string, fields?: TokenFields) {
    return this.#parts.tokens.create(actor, userid, name, fields);
  }

  /** Returns a new secret when one was asked for. */
  updateToken(actor: Actor, userid: UserId, name: string, changes: TokenChanges): string | undefined {
    return this.#parts.tokens.update(actor, userid, name, changes);
  }

  deleteToken(actor: Actor, userid: UserId, name: string, digest?: string): void {
    this.#parts.tokens.delete(actor, userid, name, digest);
  }

  listAcl(actor: Actor, query?: AclQuery) {
    return this.#parts.acl.list(actor, query);
  }

  changeAcl(actor: Actor, change: AclChange): void {
    this.#parts.acl.change(actor, change);
  }

  /** Path -> rights: of one path, or of every path that has entries for the auth id. Of others only with Sys.Audit on /access. */
  permissionsOf(actor: Actor, authId: AuthId = actor.authId, path?: string): ReadonlyMap<string, Rights> {
    if (authId !== actor.authId && userOf(authId) !== actor.authId) this.#parts.rules.requireAudit(actor);
    const { permissions } = this.#parts;
    const paths = path === undefined ? new Set(['/', ...permissions.pathsOf(authId)]) : [parseAclPath(path)];
    const found = [...paths].map((each) => [each, permissions.of(authId, each)] as const);
    return new Map(path === undefined ? found.filter(([, rights]) => rights.size > 0) : found);
  }

  listTfa(actor: Actor) {
    return this.#parts.tfa.list(actor);
  }

  tfaOf(actor: Actor, user: UserId) {
    return this.#parts.tfa.of(actor, user);
  }

  addTotp(actor: Actor, user: UserId, totp: NewTotp): Promise<string> {
    return this.#parts.tfa.addTotp(actor, user, totp);
  }

  /** The codes are shown this once. */
  addRecovery(actor: Actor, user: UserId, confirmation?: string): Promise<string[]> {
    return this.#parts.tfa.addRecovery(actor, user, confirmation);
  }

  updateTfa(actor: Actor, user: UserId, id: string, changes: Parameters<TfaEnrolment['update']>[3]): Promise<void> {
    return this.#parts.tfa.update(actor, user, id, changes);
  }

  deleteTfa(actor: Actor, user: UserId, id: string, confirmation?: string): Promise<void> {
    return this.#parts.tfa.delete(actor, user, id, confirmation);
  }

  unlockTfa(actor: Actor, user: UserId): boolean {
    return this.#parts.tfa.unlock(actor, user);
  }

  /** Newest first, `AUDIT_PAGE.most` of them at most; only with Sys.Audit on /access. */
  async auditLog(actor: Actor, query: AuditQuery): Promise<readonly AuditEntry[]> {
    this.#parts.rules.requireAudit(actor);
    return await this.#parts.audit.list({ ...query, limit: Math.min(query.limit, AUDIT_PAGE.most) });
  }
}
