// Who may ask for which change of users, tokens, rights and second factors. The command line on the server asks as root@pam.
import { type AuthId, ROOT_USER, tokenNameOf, type UserId, userOf } from '../schema/auth-id.ts';
import type { Actor } from './audit-log.ts';
import { type Permissions, permissionDenied } from './permissions.ts';

const USERS = '/access/users';
const ACL = '/access/acl';

export class AccessRules {
  readonly #permissions: Permissions;

  constructor(permissions: Permissions) {
    this.#permissions = permissions;
  }

  /** Whether all users and their tokens may be seen. */
  seesUsers({ authId }: Actor): boolean {
    return this.#any(authId, USERS, 'Sys.Audit', 'Permissions.Modify');
  }

  seesAcl({ authId }: Actor): boolean {
    return this.#any(authId, ACL, 'Sys.Audit', 'Permissions.Modify');
  }

  requireSeeing(actor: Actor, user: UserId): void {
    if (actor.authId !== user) this.#permissions.require(actor.authId, USERS, 'Sys.Audit', 'Permissions.Modify');
  }

  requireAudit({ authId }: Actor): void {
    this.#permissions.require(authId, '/access', 'Sys.Audit');
  }

  /** Creating and deleting users, and their names. */
  requireManaging(actor: Actor, user: UserId): void {
    this.#permissions.require(actor.authId, USERS, 'Permissions.Modify');
    this.#guardRoot(actor, user);
  }

  /** Texts of oneself, tokens of oneself. */
  requireSelfOrManaging(actor: Actor, user: UserId): void {
    if (actor.authId !== user) this.requireManaging(actor, user);
  }

  /** What gives whoever does it all rights of the user: a new password, a new secret of a token, one second factor less. */
  requireBecoming(actor: Actor, user: UserId): void {
    if (actor.authId === user) return;
    this.#permissions.require(actor.authId, '/', 'Permissions.Modify');
    this.#guardRoot(actor, user);
  }

  /** Passwords and second factors are changed by people. */
  requireNoToken({ authId }: Actor): void {
    if (tokenNameOf(authId) !== undefined) throw permissionDenied(authId, '/access', []);
  }

  /** Rights are given by whoever may on that path; everybody may give to own tokens, which never get more than their user has. */
  requireAclChange(actor: Actor, path: string, authId: AuthId): void {
    const isOwnToken = tokenNameOf(authId) !== undefined && userOf(authId) === actor.authId;
    if (!isOwnToken) this.#permissions.require(actor.authId, path, 'Permissions.Modify');
  }

  #guardRoot({ authId }: Actor, user: UserId): void {
    if (user === ROOT_USER && authId !== ROOT_USER) throw permissionDenied(authId, USERS, ['Permissions.Modify']);
  }

  #any(authId: AuthId, path: string, ...privileges: ('Sys.Audit' | 'Permissions.Modify')[]): boolean {
    const rights = this.#permissions.of(authId, path);
    return privileges.some((privilege) => rights.has(privilege));
  }
}
