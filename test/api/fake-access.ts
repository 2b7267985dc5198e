// Users, rights, tokens and sign-in in memory, behind the interfaces that the API asks for.

import type { AccessCalls, AuthenticatorCalls, PermissionCalls } from '../../src/api/services.ts';
import type { StoredAclEntry } from '../../src/auth/access-store.ts';
import type { AclChange } from '../../src/auth/acl-changes.ts';
import type { Actor, AuditEntry, AuditQuery } from '../../src/auth/audit-log.ts';
import type { Identity } from '../../src/auth/authenticator.ts';
import { digestOf, requireDigest } from '../../src/auth/config-digest.ts';
import type { Privilege } from '../../src/auth/privileges.ts';
import { ROLES, type RoleName } from '../../src/auth/privileges.ts';
import type { FactorEntry } from '../../src/auth/second-factor-store.ts';
import type { LoginRequest, LoginResult } from '../../src/auth/sign-in.ts';
import type { UserFactors } from '../../src/auth/tfa-enrolment.ts';
import type { TokenChanges, TokenFields, TokenView } from '../../src/auth/token-accounts.ts';
import type { NewUser, UserChanges, UserView } from '../../src/auth/user-accounts.ts';
import { type AuthId, parseAuthId, tokenNameOf, type UserId, userOf } from '../../src/schema/auth-id.ts';
import { HoldfastError } from '../../src/util/errors.ts';

const ROOT = 'root@pam' as UserId;
const NEW_USER = {
  comment: '',
  firstname: '',
  lastname: '',
  email: '',
  enable: true,
  expire: 0,
  totpLocked: false,
  tfaLockedUntil: 0,
};

export class FakeAccess implements AccessCalls, PermissionCalls {
  readonly users = new Map<UserId, UserView>([[ROOT, { ...NEW_USER, userid: ROOT, comment: 'Superuser' }]]);
  readonly passwords = new Map<UserId, string>([[ROOT, 'root-password']]);
  readonly tokens = new Map<AuthId, TokenView & { secret: string }>();
  readonly factors = new Map<UserId, FactorEntry[]>();
  acl: StoredAclEntry[] = [];
  auditEntries: AuditEntry[] = [];
  readonly auditAsked: AuditQuery[] = [];
  #count = 0;

  listUsers({ authId }: Actor) {
    const seesAll = this.has(authId, '/access/users', 'Sys.Audit');
    const users = [...this.users.values()].filter(({ userid }) => seesAll || userid === authId);
    return { users, digest: this.#usersDigest() };
  }
  getUser(_actor: Actor, userid: UserId) {
    const user = this.users.get(userid);
    if (user === undefined) throw new HoldfastError('not-found', `no such user '${userid}'`);
    return { user, digest: this.#usersDigest() };
  }
  async createUser(_actor: Actor, { password, ...fields }: NewUser): Promise<void> {
    if (this.users.has(fields.userid)) throw new HoldfastError('exists', `user '${fields.userid}' already exists.`);
    this.users.set(fields.userid, { ...NEW_USER, ...fields });
    if (password !== undefined) this.passwords.set(fields.userid, password);
  }
  async updateUser(actor: Actor, userid: UserId, changes: UserChanges): Promise<void> {
    const { password, delete: emptied = [], digest, ...fields } = changes;
    const { user } = this.getUser(actor, userid);
    requireDigest(digest, () => digestOf([...this.users.values()]));
    this.users.set(userid, { ...user, ...fields, ...Object.fromEntries(emptied.map((name) => [name, ''])) });
    if (password !== undefined) this.passwords.set(userid, password);
  }
  deleteUser(_actor: Actor, userid: UserId): void {
    if (!this.users.delete(userid)) throw new HoldfastError('not-found', `user '${userid}' does not exist.`);
    for (const id of this.tokens.keys()) if (userOf(id) === userid) this.tokens.delete(id);
  }
  async setPassword(actor: Actor, userid: UserId, password: string): Promise<void> {
    if (tokenNameOf(actor.authId) !== undefined) throw permissionDenied();
    this.passwords.set(this.getUser(actor, userid).user.userid, password);
  }
  listTokens(actor: Actor, userid: UserId) {
    this.getUser(actor, userid);
    const all = [...this.tokens.values()].filter(({ tokenid }) => userOf(tokenid) === userid);
    return { tokens: all.map(({ secret: _, ...row }) => row), digest: this.#usersDigest() };
  }
  getToken(actor: Actor, userid: UserId, name: string) {
    const { tokens, digest } = this.listTokens(actor, userid);
    const token = tokens.find(({ tokenName }) => tokenName === name);
    if (token === undefined) throw new HoldfastError('not-found', `no such token '${name}' for user '${userid}'`);
    return { token, digest };
  }
  createToken(actor: Actor, userid: UserId, tokenName: string, { digest: _, ...fields }: TokenFields = {}) {
    const tokenid = parseAuthId(`${userid}!${tokenName}`);
    if (this.listTokens(actor, userid).tokens.some((token) => token.tokenid === tokenid))
      throw new HoldfastError('exists', `token '${tokenName}' for user '${userid}' already exists.`);
    const secret = `secret-${++this.#count}`;
    this.tokens.set(tokenid, { comment: '', enable: true, expire: 0, ...fields, tokenid, tokenName, secret });
    return { tokenid, value: secret };
  }
  updateToken(actor: Actor, userid: UserId, name: string, changes: TokenChanges): string | undefined {
    const { regenerate, deleteComment, digest: _, ...fields } = changes;
    const { token } = this.getToken(actor, userid, name);
    const secret = regenerate ? `secret-${++this.#count}` : undefined;
    const before = this.tokens.get(token.tokenid)?.secret as string;
    const comment = deleteComment ? { comment: '' } : {};
    this.tokens.set(token.tokenid, { ...token, ...fields, ...comment, secret: secret ?? before });
    return secret;
  }
  deleteToken(actor: Actor, userid: UserId, name: string): void {
    const { token } = this.getToken(actor, userid, name);
    this.tokens.delete(token.tokenid);
    this.acl = this.acl.filter(({ authId }) => authId !== token.tokenid);
  }
  listAcl({ authId }: Actor) {
    const seesAll = this.has(authId, '/access/acl', 'Sys.Audit');
    const entries = this.acl.filter((row) => seesAll || row.authId === authId || userOf(row.authId) === authId);
    return { entries, digest: digestOf(this.acl) };
  }
  changeAcl({ authId: caller }: Actor, change: AclChange): void {
    const { delete: remove = false, propagate = true, digest: _, ...row } = change;
    if (!/^\/((access|datastore|system|remote)(\/.*)?)?$/.test(row.path))
      throw new HoldfastError('bad-name', `invalid acl path '${row.path}'.`);
    const isOwnToken = tokenNameOf(row.authId) !== undefined && userOf(row.authId) === caller;
    if (!isOwnToken && !this.has(caller, row.path, 'Permissions.Modify')) throw permissionDenied();
    this.acl = this.acl.filter(
      (each) => each.path !== row.path || each.authId !== row.authId || each.role !== row.role,
    );
    const role = row.role as RoleName;
    if (!remove) this.acl.push({ ...row, role, propagate });
  }
  permissionsOf({ authId: caller }: Actor, authId: AuthId = caller, path?: string) {
    if (authId !== caller && userOf(authId) !== caller && !this.has(caller, '/access', 'Sys.Audit'))
      throw permissionDenied();
    const named = this.acl.filter((row) => row.authId === authId || row.authId === userOf(authId));
    const paths = path === undefined ? new Set(['/', ...named.map((row) => row.path)]) : [path];
    return new Map([...paths].map((each) => [each, this.of(authId, each)] as const).filter(([, { size }]) => size > 0));
  }
  listTfa({ authId }: Actor): UserFactors[] {
    return [...this.factors.keys()].filter((user) => user === authId || authId === ROOT).map((user) => this.#tfa(user));
  }
  tfaOf(actor: Actor, user: UserId): UserFactors {
    return this.#tfa(this.getUser(actor, user).user.userid);
  }
  async addTotp(actor: Actor, user: UserId, { description }: { description: string }): Promise<string> {
    const id = `totp${++this.#count}`;
    this.#add(actor, user, { id, type: 'totp', created: 1, enable: true, description });
    return id;
  }
  async addRecovery(actor: Actor, user: UserId): Promise<string[]> {
    this.#add(actor, user, { id: 'recovery', type: 'recovery', created: 1, enable: true, description: '' });
    return ['one-two', 'three-four'];
  }
  async updateTfa(actor: Actor, user: UserId, id: string, changes: { description?: string; enable?: boolean }) {
    const { entries } = this.#changing(actor, user, id);
    this.factors.set(
      user,
      entries.map((each) => (each.id === id ? { ...each, ...changes } : each)),
    );
  }
  async deleteTfa(actor: Actor, user: UserId, id: string): Promise<void> {
    const { entries } = this.#changing(actor, user, id);
    this.factors.set(
      user,
      entries.filter((each) => each.id !== id),
    );
  }
  unlockTfa(actor: Actor, userid: UserId): boolean {
    const { user } = this.getUser(actor, userid);
    this.users.set(userid, { ...user, totpLocked: false });
    return user.totpLocked;
  }

  async auditLog(_actor: Actor, query: AuditQuery): Promise<AuditEntry[]> {
    this.auditAsked.push(query);
    return this.auditEntries;
  }

  /** A user or a token with these roles on these paths. */
  grant(authId: string, roles: Readonly<Record<string, RoleName>>): void {
    const id = parseAuthId(authId);
    const user = userOf(id);
    if (!this.users.has(user)) this.users.set(user, { ...NEW_USER, userid: user });
    const name = tokenNameOf(id);
    if (name !== undefined) this.createToken({ authId: ROOT, address: '' }, user, name);
    for (const [path, role] of Object.entries(roles)) this.acl.push({ path, role, authId: id, propagate: true });
  }

  of(authId: AuthId, path: string): ReadonlyMap<Privilege, boolean> {
    const user = userOf(authId);
    if (this.users.get(user)?.enable !== true) return new Map();
    const ofUser = user === ROOT ? ROLES.Admin : this.#granted(user, path);
    const ofToken = tokenNameOf(authId) === undefined ? ofUser : this.#granted(authId, path);
    return new Map(ofUser.filter((each) => ofToken.includes(each)).map((each) => [each, true]));
  }
  has(authId: AuthId, path: string, privilege: Privilege): boolean {
    return this.of(authId, path).has(privilege);
  }
  hasBelow(authId: AuthId, path: string, privilege: Privilege): boolean {
    const below = this.acl.filter((row) => row.path.startsWith(`${path}/`)).map((row) => row.path);
    return [path, ...below].some((each) => this.has(authId, each, privilege));
  }

  /** The entries that stand nearest count. */
  #granted(authId: AuthId, path: string): readonly Privilege[] {
    for (let at = path; ; at = at.slice(0, at.lastIndexOf('/')) || '/') {
      const rows = this.acl.filter((row) => row.authId === authId && row.path === at);
      if (rows.length > 0) return rows.flatMap(({ role }) => [...ROLES[role as RoleName]]);
      if (at === '/') return [];
    }
  }

  #tfa(userid: UserId): UserFactors {
    const { totpLocked, tfaLockedUntil } = this.users.get(userid) as UserView;
    return { userid, entries: this.factors.get(userid) ?? [], totpLocked, tfaLockedUntil };
  }
  #add(actor: Actor, user: UserId, entry: FactorEntry): void {
    if (tokenNameOf(actor.authId) !== undefined) throw permissionDenied();
    this.factors.set(user, [...this.tfaOf(actor, user).entries, entry]);
  }
  #changing(actor: Actor, user: UserId, id: string): UserFactors {
    if (tokenNameOf(actor.authId) !== undefined) throw permissionDenied();
    const factors = this.tfaOf(actor, user);
    if (!factors.entries.some((each) => each.id === id))
      throw new HoldfastError('not-found', `'${user}' has no such second factor`);
    return factors;
  }
  #usersDigest(): string {
    return digestOf([...this.users.values()]);
  }
}

/** `PBSAPIToken=AUTHID:SECRET` of a token, or the cookie of a user with the token `csrf` on all but GET. */
export class FakeAuthenticator implements AuthenticatorCalls {
  readonly #access: FakeAccess;

  constructor(access: FakeAccess) {
    this.#access = access;
  }

  async authenticate(credentials: {
    authorization: string | undefined;
    cookie: string | undefined;
    csrfToken: string | undefined;
    method: string;
  }): Promise<Identity> {
    const [, tokenId, secret] = /^PBSAPIToken[= ]([^:]+):(.+)$/.exec(credentials.authorization ?? '') ?? [];
    if (tokenId !== undefined && this.#access.tokens.get(tokenId as AuthId)?.secret === secret)
      return { authId: tokenId as AuthId, by: 'token' };
    const [, user] = /^PBSAuthCookie=(.+)$/.exec(credentials.cookie ?? '') ?? [];
    const isChecked = credentials.method === 'GET' || credentials.csrfToken === 'csrf';
    if (user !== undefined && isChecked && this.#access.users.has(user as UserId))
      return { authId: user as UserId, by: 'ticket' };
    throw new HoldfastError('not-authenticated' as never, 'authentication failed');
  }

  async login({ username, password }: LoginRequest): Promise<LoginResult> {
    if (this.#access.passwords.get(username as UserId) !== password)
      throw new HoldfastError('not-authenticated' as never, `wrong password of ${username}`);
    const ticket = `PBS:${username}:6B00F22F::c2lnbmF0dXJl`;
    return { username: username as UserId, ticket, csrfToken: '6B00F22F:dG9rZW4', needsSecondFactor: false };
  }
}

function permissionDenied(): HoldfastError {
  return new HoldfastError('permission-denied' as never, 'permission check failed');
}
