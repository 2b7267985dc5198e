// Users, rights, tokens and sign-in in memory, behind the interfaces that the API asks for.

import type {
  AccessCalls,
  AclRow,
  AuthenticatorCalls,
  Identity,
  PermissionCalls,
  Privilege,
  TfaRow,
  TokenDetails,
  UserDetails,
} from '../../src/api/services.ts';
import { ROLES } from '../../src/auth/privileges.ts';
import { type AuthId, parseAuthId, tokenNameOf, type UserId, userOf } from '../../src/schema/auth-id.ts';
import { HoldfastError } from '../../src/util/errors.ts';

const ROOT = 'root@pam' as UserId;

export class FakeAccess implements AccessCalls {
  readonly users = new Map<UserId, UserDetails>([
    [ROOT, { userid: ROOT, comment: 'Superuser', enable: true, expire: 0 }],
  ]);
  readonly passwords = new Map<UserId, string>([[ROOT, 'root-password']]);
  readonly tokens = new Map<AuthId, TokenDetails & { secret: string }>();
  readonly factors = new Map<UserId, TfaRow[]>();
  acl: AclRow[] = [];
  #count = 0;

  listUsers(): UserDetails[] {
    return [...this.users.values()];
  }
  async createUser(user: UserDetails, password: string | undefined): Promise<void> {
    this.users.set(user.userid, user);
    if (password !== undefined) this.passwords.set(user.userid, password);
  }
  async updateUser(userid: UserId, change: object): Promise<void> {
    const merged = Object.entries({ ...this.users.get(userid), ...change }).filter(([, value]) => value !== null);
    this.users.set(userid, Object.fromEntries(merged) as unknown as UserDetails);
  }
  async deleteUser(userid: UserId): Promise<void> {
    this.users.delete(userid);
    for (const each of this.listTokens(userid)) this.tokens.delete(each.tokenid);
  }
  async setPassword(userid: UserId, password: string): Promise<void> {
    this.passwords.set(userid, password);
  }
  listTokens(userid: UserId): TokenDetails[] {
    return [...this.tokens.values()]
      .filter(({ tokenid }) => userOf(tokenid) === userid)
      .map(({ secret: _, ...row }) => row);
  }
  async createToken(userid: UserId, tokenName: string, token: object): Promise<{ tokenid: string; value: string }> {
    const tokenid = parseAuthId(`${userid}!${tokenName}`);
    const secret = `secret-${++this.#count}`;
    this.tokens.set(tokenid, { enable: true, expire: 0, ...token, tokenid, tokenName, secret });
    return { tokenid, value: secret };
  }
  async updateToken(userid: UserId, name: string, change: object): Promise<void> {
    const tokenid = parseAuthId(`${userid}!${name}`);
    this.tokens.set(tokenid, { ...(this.tokens.get(tokenid) as TokenDetails & { secret: string }), ...change });
  }
  async regenerateToken(userid: UserId, name: string): Promise<string> {
    const secret = `secret-${++this.#count}`;
    await this.updateToken(userid, name, { secret });
    return secret;
  }
  async deleteToken(userid: UserId, name: string): Promise<void> {
    this.tokens.delete(parseAuthId(`${userid}!${name}`));
    this.acl = this.acl.filter(({ authId }) => authId !== `${userid}!${name}`);
  }
  listAcl(): AclRow[] {
    return this.acl;
  }
  async changeAcl({ remove, ...row }: AclRow & { remove: boolean }): Promise<void> {
    if (!/^\/(access|datastore|system|remote)?(\/|$)/.test(row.path))
      throw new HoldfastError('bad-name', `invalid acl path '${row.path}'.`);
    this.acl = this.acl.filter(
      (each) => each.path !== row.path || each.authId !== row.authId || each.role !== row.role,
    );
    if (!remove) this.acl.push(row);
  }
  listTfa(userid: UserId): TfaRow[] {
    return this.factors.get(userid) ?? [];
  }
  async addTotp(userid: UserId, entry: { description: string }): Promise<{ id: string }> {
    const row: TfaRow = {
      id: `totp${++this.#count}`,
      type: 'totp',
      created: 1,
      enable: true,
      description: entry.description,
    };
    this.factors.set(userid, [...this.listTfa(userid), row]);
    return { id: row.id };
  }
  async addRecovery(userid: UserId): Promise<{ id: string; codes: string[] }> {
    const row: TfaRow = { id: 'recovery', type: 'recovery', created: 1, enable: true, description: '' };
    this.factors.set(userid, [...this.listTfa(userid), row]);
    return { id: row.id, codes: ['one-two', 'three-four'] };
  }
  async deleteTfa(userid: UserId, id: string): Promise<void> {
    this.factors.set(
      userid,
      this.listTfa(userid).filter((each) => each.id !== id),
    );
  }
  async unlockTfa(userid: UserId): Promise<boolean> {
    const user = this.users.get(userid);
    await this.updateUser(userid, { totpLocked: false });
    return user?.totpLocked === true;
  }

  /** A user with these roles on these paths, signed in as `Bearer NAME@REALM`. */
  grant(authId: string, roles: Readonly<Record<string, keyof typeof ROLES>>): void {
    const id = parseAuthId(authId);
    const user = userOf(id);
    if (!this.users.has(user)) this.users.set(user, { userid: user, enable: true, expire: 0 });
    const tokenName = tokenNameOf(id);
    if (tokenName !== undefined)
      this.tokens.set(id, { tokenid: id, tokenName, enable: true, expire: 0, secret: `secret-${++this.#count}` });
    for (const [path, role] of Object.entries(roles)) this.acl.push({ path, role, authId: id, propagate: true });
  }
}

export class FakePermissions implements PermissionCalls {
  readonly #access: FakeAccess;

  constructor(access: FakeAccess) {
    this.#access = access;
  }

  of(authId: AuthId, path: string): ReadonlyMap<Privilege, boolean> {
    const user = userOf(authId);
    if (this.#access.users.get(user)?.enable !== true) return new Map();
    const ofUser = user === ROOT ? ROLES.Admin : this.#granted(user, path);
    if (tokenNameOf(authId) === undefined) return new Map(ofUser.map((each) => [each, true]));
    const ofToken = this.#granted(authId, path);
    return new Map(ofUser.filter((each) => ofToken.includes(each)).map((each) => [each, true]));
  }

  /** The entry that stands nearest counts. */
  #granted(authId: AuthId, path: string): readonly Privilege[] {
    for (let at = path; ; at = at.slice(0, at.lastIndexOf('/')) || '/') {
      const rows = this.#access.acl.filter((row) => row.authId === authId && row.path === at);
      if (rows.length > 0) return rows.flatMap(({ role }) => [...ROLES[role]]);
      if (at === '/') return [];
    }
  }

  has(authId: AuthId, path: string, privilege: Privilege): boolean {
    return this.of(authId, path).has(privilege);
  }

  hasBelow(authId: AuthId, path: string, privilege: Privilege): boolean {
    const below = this.#access.acl.filter((row) => row.path.startsWith(`${path}/`)).map((row) => row.path);
    return [path, ...below].some((each) => this.has(authId, each, privilege));
  }

  pathsOf(authId: AuthId): string[] {
    const rows = this.#access.acl.filter((row) => row.authId === authId || row.authId === userOf(authId));
    return [...new Set(rows.map(({ path }) => path))];
  }
}

/** `PBSAPIToken=AUTHID:SECRET` of a token, or the cookie `AUTHID` of a user with the token `csrf` on all but GET. */
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

  async login({ username, password }: { username: string; password: string }) {
    if (this.#access.passwords.get(username as UserId) !== password)
      throw new HoldfastError('not-authenticated' as never, `wrong password of ${username}`);
    return { username, ticket: `PBS:${username}:6B00F22F::c2lnbmF0dXJl`, csrfToken: '6B00F22F:dG9rZW4' };
  }
}
