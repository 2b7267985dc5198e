// What the API needs of the rest of the server: interfaces beside their consumer, so that a fake of each is a few lines.
import type { HeldDatastore } from '../datastore/held-datastore.ts';
import type { AuthId, UserId } from '../schema/auth-id.ts';
import type { Limits } from '../schema/limits-file.ts';
import type { WorkerPool } from '../util/worker-pool.ts';

export type { Privilege } from '../auth/privileges.ts';

import type { Privilege } from '../auth/privileges.ts';

export interface ApiServices {
  readonly authenticator: AuthenticatorCalls;
  readonly access: AccessCalls;
  readonly realms: readonly Realm[];
  readonly permissions: PermissionCalls;
  readonly tasks: TaskCalls;
  readonly datastores: Datastores;
  readonly sessions: SessionCalls;
  readonly version: VersionInfo;
  readonly node: NodeInfo;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

export interface VersionInfo {
  /** `major.minor`. */
  readonly version: string;
  /** A whole number as text. */
  readonly release: string;
  readonly repoid: string;
}

export interface NodeInfo {
  /** Also answered to as `localhost`. */
  readonly name: string;
  /** Of this installation, whatever its name. */
  readonly instanceId: string;
  /** SHA-256 of the certificate that callers see, as hexadecimal pairs between colons; it may be renewed while the server runs. */
  fingerprint(): string;
}

export interface Credentials {
  readonly authorization: string | undefined;
  /** The whole Cookie header. */
  readonly cookie: string | undefined;
  readonly csrfToken: string | undefined;
  readonly method: string;
  readonly address: string;
}

export interface Identity {
  readonly authId: AuthId;
  readonly by: 'ticket' | 'token';
}

export interface SignIn {
  readonly username: string;
  readonly password: string;
  readonly tfaChallenge: string | undefined;
  readonly address: string;
}

export interface SignedIn {
  readonly username: string;
  readonly ticket: string;
  /** `invalid` while a second factor is due: the ticket is then the challenge. */
  readonly csrfToken: string;
}

export interface AuthenticatorCalls {
  /** @throws HoldfastError `not-authenticated`. */
  authenticate(credentials: Credentials, nowMs: number): Promise<Identity>;
  /** @throws HoldfastError `not-authenticated`, `login-throttled`. */
  login(request: SignIn): Promise<SignedIn>;
}

export interface PermissionCalls {
  has(authId: AuthId, path: string, privilege: Privilege): boolean;
  hasBelow(authId: AuthId, path: string, privilege: Privilege): boolean;
}

/** Who asks, and from where: for the rules and the audit log. */
export interface Actor {
  readonly authId: AuthId;
  readonly address: string;
}

/** Texts are empty when not given. */
export interface UserDetails {
  readonly userid: UserId;
  readonly comment: string;
  readonly firstname: string;
  readonly lastname: string;
  readonly email: string;
  readonly enable: boolean;
  /** Unix seconds; 0 for never. */
  readonly expire: number;
  readonly totpLocked: boolean;
  /** Unix seconds; 0 for not locked. */
  readonly tfaLockedUntil: number;
}
type UserText = 'comment' | 'firstname' | 'lastname' | 'email';

export interface UserFields extends Partial<Pick<UserDetails, UserText | 'enable' | 'expire'>> {
  readonly password?: string;
}
export interface UserChanges extends UserFields {
  readonly delete?: readonly UserText[];
  readonly digest?: string;
}

export interface TokenDetails {
  readonly tokenid: AuthId;
  readonly tokenName: string;
  readonly comment: string;
  readonly enable: boolean;
  readonly expire: number;
}
export interface TokenFields extends Partial<Pick<TokenDetails, 'comment' | 'enable' | 'expire'>> {
  readonly digest?: string;
}
export interface TokenChanges extends TokenFields {
  readonly regenerate?: boolean;
  readonly deleteComment?: boolean;
}

export interface AclRow {
  readonly path: string;
  readonly authId: AuthId;
  readonly role: string;
  readonly propagate: boolean;
}
export interface AclChange extends Omit<AclRow, 'propagate'> {
  readonly propagate?: boolean;
  readonly delete?: boolean;
  readonly digest?: string;
}

export interface FactorDetails {
  readonly id: string;
  readonly type: 'totp' | 'recovery';
  readonly description: string;
  /** Unix seconds. */
  readonly created: number;
  readonly enable: boolean;
}
export interface UserFactors {
  readonly userid: UserId;
  readonly entries: readonly FactorDetails[];
  readonly totpLocked: boolean;
  readonly tfaLockedUntil: number;
}
export interface NewTotp {
  /** `otpauth://totp/…` with the key. */
  readonly uri: string;
  /** What the authenticator shows. */
  readonly code: string;
  readonly description: string;
  readonly confirmation?: string;
}

/**
 * Users, tokens, rights and second factors. The rules of who may do what are checked behind it too; each call throws `permission-denied`,
 * `not-found`, `exists` and the like of the catalogue, in words that go out as they are. `confirmation` is the password of who asks.
 */
export interface AccessCalls {
  listUsers(actor: Actor): { readonly users: readonly UserDetails[]; readonly digest: string };
  getUser(actor: Actor, userid: UserId): { readonly user: UserDetails; readonly digest: string };
  createUser(actor: Actor, user: UserFields & { readonly userid: UserId }): Promise<void>;
  updateUser(actor: Actor, userid: UserId, changes: UserChanges): Promise<void>;
  deleteUser(actor: Actor, userid: UserId, digest?: string): void;
  setPassword(actor: Actor, userid: UserId, password: string, confirmation?: string): Promise<void>;
  listTokens(actor: Actor, userid: UserId): { readonly tokens: readonly TokenDetails[]; readonly digest: string };
  getToken(actor: Actor, userid: UserId, name: string): { readonly token: TokenDetails; readonly digest: string };
  createToken(
    actor: Actor,
    userid: UserId,
    name: string,
    fields?: TokenFields,
  ): { readonly tokenid: AuthId; readonly value: string };
  /** Returns a new secret when one was asked for. */
  updateToken(actor: Actor, userid: UserId, name: string, changes: TokenChanges): string | undefined;
  deleteToken(actor: Actor, userid: UserId, name: string, digest?: string): void;
  listAcl(
    actor: Actor,
    query?: { readonly path?: string; readonly exact?: boolean },
  ): { readonly entries: readonly AclRow[]; readonly digest: string };
  changeAcl(actor: Actor, change: AclChange): void;
  /** Path -> privilege -> whether it holds below too. */
  permissionsOf(actor: Actor, authId?: AuthId, path?: string): ReadonlyMap<string, ReadonlyMap<Privilege, boolean>>;
  listTfa(actor: Actor): readonly UserFactors[];
  tfaOf(actor: Actor, user: UserId): UserFactors;
  addTotp(actor: Actor, user: UserId, totp: NewTotp): Promise<string>;
  addRecovery(actor: Actor, user: UserId, confirmation?: string): Promise<readonly string[]>;
  updateTfa(
    actor: Actor,
    user: UserId,
    id: string,
    changes: { readonly description?: string; readonly enable?: boolean; readonly confirmation?: string },
  ): Promise<void>;
  deleteTfa(actor: Actor, user: UserId, id: string, confirmation?: string): Promise<void>;
  /** Whether it was locked. */
  unlockTfa(actor: Actor, user: UserId): boolean;
}

/** A realm of users, as the sign-in page shows it. */
export interface Realm {
  readonly realm: string;
  readonly type: string;
  readonly comment: string;
  readonly default?: boolean;
}

export interface TaskWork {
  readonly upid: string;
  readonly signal: AbortSignal;
  log(text: string): void;
  warn(text: string): void;
  onProgress(what: string, bytesDone: number, bytesTotal: number | undefined): void;
}

export interface TaskRow {
  readonly upid: string;
  readonly node: string;
  readonly pid: number;
  readonly pstart: number;
  /** Unix seconds. */
  readonly starttime: number;
  readonly type: string;
  readonly id: string | null;
  readonly user: string;
  /** Null while it runs, as is `status`. */
  readonly endtime: number | null;
  readonly status: string | null;
  readonly data: Readonly<Record<string, unknown>> | null;
}

export interface TaskFilter {
  readonly running?: boolean;
  readonly errors?: boolean;
  readonly store?: string;
  readonly since?: number;
  readonly until?: number;
  readonly typefilter?: string;
  readonly userfilter?: string;
  readonly statusfilter?: readonly ('ok' | 'warning' | 'error' | 'unknown')[];
  /** Only tasks of this user or token, and of the user's tokens. */
  readonly ownedBy?: string;
  readonly start?: number;
  readonly limit?: number;
}

export interface TaskLog {
  readonly lines: readonly { readonly n: number; readonly t: string }[];
  readonly total: number;
  readonly active: boolean;
}

export interface TaskStatus {
  readonly upid: string;
  readonly node: string;
  readonly pid: number;
  readonly pstart: number;
  readonly starttime: number;
  readonly type: string;
  readonly id: string | null;
  readonly user: string;
  readonly status: 'running' | 'stopped';
  /** Of a task that has stopped. */
  readonly exitstatus?: string;
  readonly endtime?: number;
  /** Of a task that runs and has told. */
  readonly progress?: { readonly what: string; readonly bytesDone: number; readonly bytesTotal: number | undefined };
}

export interface StartedTask {
  readonly upid: string;
  /** Never rejects. */
  readonly done: Promise<{ readonly status: string; readonly error?: unknown }>;
}

export interface TaskCalls {
  /** Returns at once; what the work throws becomes the task's status. */
  start(
    request: { readonly type: string; readonly id: string | null; readonly authId: string },
    work: (task: TaskWork) => Promise<{ readonly data?: Readonly<Record<string, unknown>> } | undefined>,
  ): StartedTask;
  list(filter: TaskFilter): { readonly rows: readonly TaskRow[]; readonly total: number };
  /** A task that nobody knows is stopped with the status `unknown`. @throws HoldfastError `bad-name` for what is no UPID. */
  status(upid: string): TaskStatus;
  get(upid: string): TaskRow | undefined;
  /** `start` counts from 1. */
  log(upid: string, start: number, limit: number): Promise<TaskLog>;
  /** Asks it to stop. @throws HoldfastError `not-found`. */
  abort(upid: string, reason: string): boolean;
}

export interface DatastoreEntry {
  readonly name: string;
  readonly path: string;
  readonly comment?: string | undefined;
}

/** What is not named stays. */
export interface DatastoreChange {
  /** Null takes it away. */
  readonly comment?: string | null;
  readonly maintenance?: Limits['maintenance'];
  readonly quotas?: Limits['quotas'];
}

export interface OpenDatastore {
  readonly name: string;
  readonly store: HeldDatastore;
  readonly pool: WorkerPool;
}

export interface Datastores {
  list(): readonly DatastoreEntry[];
  /** @throws HoldfastError `not-found`, `datastore-maintenance` when it is offline. */
  get(name: string): Promise<OpenDatastore>;
  /** Why it could not be opened, as far as somebody tried; nothing when it is open. @throws `not-found`. */
  state(name: string): { readonly reason: string | undefined };
  /** Makes the directory a datastore, or takes the one that is there when `reuse` says so. @throws `exists`, `datastore-foreign`. */
  create(
    actor: Actor,
    entry: DatastoreEntry & { readonly reuse: boolean; readonly averageChunkBytes?: number | undefined },
  ): Promise<void>;
  /** One that goes offline is closed. @throws `not-found`. */
  update(actor: Actor, name: string, change: DatastoreChange): Promise<void>;
  /** Closes it and forgets where it is; its files stay. @throws `not-found`; `bad-argument` for `destroyData`. */
  remove(actor: Actor, name: string, options: { readonly destroyData: boolean }): Promise<void>;
}

/** Who opens or uses a session. */
export interface SessionCaller {
  readonly authId: AuthId;
  /** Only groups of their own may be read. */
  readonly ownGroupsOnly: boolean;
}

/** Sessions of the object protocol; docs/protocol.md, section 1, has what they take and answer. */
export interface SessionCalls {
  open(store: string, caller: SessionCaller, body: unknown): Promise<object>;
  /** The calls below throw `session-gone` for one that is not there, or is not the caller's. */
  describe(store: string, caller: SessionCaller, session: string): Promise<object>;
  commit(store: string, caller: SessionCaller, session: string, body: unknown): Promise<object>;
  end(store: string, caller: SessionCaller, session: string): Promise<void>;
}
